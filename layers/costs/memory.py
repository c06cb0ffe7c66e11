"""How much memory a forward pass takes."""

import subprocess
import sys
import tempfile
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from checks import require

from ..network import answer, evaluating, observing


class Live(TorchDispatchMode):
    """Bytes of the storages that are alive, and the most there were; views share a storage and count once."""

    def __init__(self, *held: Tensor) -> None:
        super().__init__()
        self.now = self.peak = 0
        self.known: weakref.WeakKeyDictionary[torch.UntypedStorage, int] = weakref.WeakKeyDictionary()
        for tensor in held:
            self._add(tensor)

    def _add(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        if storage not in self.known:
            self.known[storage] = storage.nbytes()
            weakref.finalize(storage, self._free, storage.nbytes())
            self.now += storage.nbytes()
            self.peak = max(self.peak, self.now)

    def _free(self, size: int) -> None:
        self.now -= size

    def __torch_dispatch__(
        self, function: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = function(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self._add(leaf)
        return result


AT_ONCE = 2**30  # bytes that the images of a batch may take inside a network


def images_at_once(model: nn.Module, x: Tensor, most: int, gradients: bool = False, limit: int = AT_ONCE) -> int:
    """Return how many images like those of x (n, ...) may go through a network together, at least 1 and at most `most`.

    As many as take `limit` bytes by what the first of them takes: what is alive at once in its forward pass, or with
    `gradients` all that waits for the way back, beside the weights.
    """
    one = x[:1].clone()
    state = [*model.parameters(), *model.buffers()]
    with observing(model, gradients), Live(*state, one) as live:
        before = live.now
        answered = answer(model, one, gradients)
    taken = max(1, live.peak - before)
    del answered  # it held what a way back needs
    return max(1, min(most, limit // taken))


def peak_memory(model: nn.Module, x: Tensor) -> int:
    """Measure the bytes held at once, at most, in a forward pass of x in eval mode: weights, x, what layers pass on.

    On CUDA by the allocator, with what its libraries need to work in; on a CPU by the tensors that are alive after
    each operator, which leaves out what an operator needs inside.
    """
    opaque = getattr(type(model), "opaque", None)
    require(opaque is None, "model", opaque, "one that torch runs, whose memory it knows")
    state, x = [*model.parameters(), *model.buffers()], x.clone()  # which a network may work on in place
    with evaluating(model):
        if x.is_cuda:
            held = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in (*state, x)}
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated()
            model(x)
            torch.cuda.synchronize()
            return torch.cuda.max_memory_allocated() - before + sum(held.values())
        with Live(*state, x) as live:
            model(x)
    return live.peak


PROGRAM = """
import sys
import numpy, onnxruntime

def most():
    lines = open("/proc/self/status").read().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM"))

x, before = numpy.load("x.npy"), most()
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession("net.onnx", options, providers=["CPUExecutionProvider"])
session.run(None, {session.get_inputs()[0].name: x})
print(most() - before)
"""


def file_memory(file: bytes, x: Tensor) -> int:
    """Measure by how many bytes a process grows at most, on Linux, that opens an .onnx file and runs x by onnxruntime.

    The file and the runtime's own working memory are part of it; the libraries, which are loaded before, are not.
    """
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "net.onnx").write_bytes(file)
        np.save(Path(folder) / "x.npy", x.detach().cpu().numpy())
        ran = subprocess.run([sys.executable, "-c", PROGRAM], cwd=folder, check=True, capture_output=True, text=True)
    return int(ran.stdout)
