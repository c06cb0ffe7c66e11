"""Whole networks: how much of the saved work is saved time, and how long compressing takes; `bench networks`."""

import copy
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import Tensor, nn

from layers import Budget, Plan, compress, export, make_plan

from .row import Row

BATCH, SIZE, MULTIPLE = 8, 224, 16
SHARES = {"resnet18": 0.9, "vgg16": 0.75}  # of the reduction of MACs that must be a speed-up


def _forward(model: nn.Module, x: Tensor) -> Tensor:
    with torch.inference_mode():
        y: Tensor = model(x)
    return y


def _runtime(model: nn.Module, x: Tensor) -> Callable[[], Any]:
    """A forward pass of the exported network in onnxruntime, with as many threads as torch has."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        export(model, x[:2], path)
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return partial(session.run, None, {session.get_inputs()[0].name: x.numpy()})


def speed_cases() -> list[Row]:
    """Half the MACs by one kernel; what is asked is a share of the reduction that the ranks reach."""
    rows = []
    for name, share in SHARES.items():
        torch.manual_seed(0)
        x = torch.randn(BATCH, 3, SIZE, SIZE).to(memory_format=torch.channels_last)
        dense = torchvision.models.get_model(name).eval().to(memory_format=torch.channels_last)
        for kernel in ("svd", "spatial", "tucker"):
            plan = make_plan(dense, Budget(macs=0.5), (kernel,), "uniform", example=x[:1], rank_multiple=MULTIPLE)
            small, reduction = compress(dense, plan), plan.before.macs / plan.after.macs
            what = f"{name}, {kernel}, {reduction:.2f}x fewer MACs"
            rows.append(Row(what, "dense", partial(_forward, small, x), partial(_forward, dense, x), share * reduction))
            ours, theirs = _later(small, x), _later(dense, x)
            rows.append(Row(f"{what}, onnxruntime", "dense, onnxruntime", ours, theirs, share * reduction))
    return rows


def _later(model: nn.Module, x: Tensor) -> Callable[[], Any]:
    """Exported at the first call, when the number of threads is set and the network's turn has come."""
    found: list[Callable[[], Any]] = []

    def run() -> Any:
        if not found:
            found.append(_runtime(copy.deepcopy(model).to(memory_format=torch.contiguous_format), x.contiguous()))
        return found[0]()

    return run


def _planted(model: nn.Module) -> nn.Module:
    """3 x 3 weights of half the rank in both modes, and noise: for EVBMF to find, as in a trained network."""
    torch.manual_seed(0)
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d) and max(layer.kernel_size) > 1:
            out, into, height, width = layer.weight.shape
            u, v = torch.randn(out, -(-out // 2)), torch.randn(into, -(-into // 2))
            core = torch.randn(u.shape[1], v.shape[1], height, width)
            signal = torch.einsum("op,pqhw,iq->oihw", u, core, v)
            layer.weight.data = signal / signal.std() + 0.3 * torch.randn_like(signal)
    return model


def compress_cases() -> list[Row]:
    """ResNet-50, Tucker-2 with EVBMF's ranks, from the dense network to the compressed one; at most 10 s are asked."""
    import tensorly
    from tensorly.decomposition import partial_tucker

    model, x = _planted(torchvision.models.resnet50()).eval(), torch.randn(1, 3, SIZE, SIZE)

    def planned() -> Plan:
        return make_plan(model, Budget(macs=1.0), ("tucker",), "evbmf", example=x)

    plan = planned()

    def theirs() -> list[Any]:
        with tensorly.backend_context("pytorch", local_threadsafe=True):
            return [
                partial_tucker(model.get_submodule(row.name).weight.detach(), rank=row.spec["ranks"], modes=[0, 1])
                for row in plan.layers
                if row.kernel
            ]

    work = "compress ResNet-50, Tucker-2 at EVBMF's ranks, planning included"
    against = "tensorly partial_tucker of the same layers at the same ranks"
    return [Row(work, against, lambda: compress(model, planned()), theirs, 10)]
