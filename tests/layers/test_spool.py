"""Tensors that wait on disk."""

import tempfile

import torch

from layers.fitting.spool import spool


def test_what_waits_on_disk_comes_back_bit_for_bit_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    dtypes = (torch.float32, torch.float64, torch.bfloat16, torch.complex64)
    tensors = [torch.randn(4, 3, 5, dtype=dtype).transpose(0, 1) for dtype in dtypes] + [torch.empty(0, 3)]
    with spool() as put:
        waiting = [put(tensor) for tensor in tensors[:3]]
        assert torch.equal(waiting[1](), tensors[1])
        waiting += [put(tensor) for tensor in tensors[3:]]  # reading in between does not move the end
        for read, tensor in zip([*waiting, *waiting], [*tensors, *tensors]):
            assert torch.equal(read(), tensor)
            assert read().dtype == tensor.dtype
        assert not any(tmp_path.iterdir())
