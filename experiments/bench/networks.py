"""Whole networks: how much of the saved work is saved time, and how long compressing takes; `bench networks`."""

import copy
import tempfile
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import Tensor, nn

from layers import Budget, Plan, compress, export, make_plan
from stage3_torch import evbmf_spectrum

from .row import LazyRow, Row

BATCH, SIZE, MULTIPLE = 8, 224, 16
KERNELS = ("svd", "spatial", "tucker")
BOUNDS = "at most 0.53 of dense", "at least 0.42"
SHARES = {"resnet18": 0.9, "vgg16": 0.75}  # of the reduction of MACs that must be a speed-up


def speed_cases() -> list[LazyRow]:
    """Return networks with half the MACs of their convolutions, by one kernel, in torch and in onnxruntime."""
    return [
        LazyRow(f"{name}, {kernel}{runtime}", partial(_speed, name, kernel, runtime))
        for name in SHARES
        for kernel in KERNELS
        for runtime in ("", ", onnxruntime")
    ]


def _speed(name: str, kernel: str, runtime: str) -> Row:
    """Return the row of one network; what is asked is a share of the reduction that its ranks reach."""
    dense, small, x, reduction = _compressed(name, kernel)
    run = _runtime if runtime else forward
    work = f"{name}, {kernel}{runtime}, {reduction:.2f}x fewer MACs"
    return Row(work, f"dense{runtime}", run(small, x), run(dense, x), SHARES[name] * reduction)


@lru_cache(maxsize=1)  # for both runtimes: planning takes most of a row's time
def _compressed(name: str, kernel: str) -> tuple[nn.Module, nn.Module, Tensor, float]:
    """Return (dense, compressed, images, dense MACs over compressed MACs)."""
    dense, x = _network(name)
    plan = _planned(dense, Budget(macs=0.5), (kernel,), "uniform", x[:1])
    return dense, compress(dense, plan), x, plan.before.macs / plan.after.macs


def _network(name: str) -> tuple[nn.Module, Tensor]:
    """Return a network of random weights and a batch of images, both channels_last."""
    torch.manual_seed(0)
    x = torch.randn(BATCH, 3, SIZE, SIZE).to(memory_format=torch.channels_last)
    return torchvision.models.get_model(name).eval().to(memory_format=torch.channels_last), x


def _planned(model: nn.Module, budget: Budget, kernels: Sequence[str], selector: str, x: Tensor) -> Plan:
    """Plan the convolutions: Linear layers are 1 % of VGG-16's MACs, and the decomposition of one takes minutes."""

    def where(_: str, layer: nn.Module) -> bool:
        return isinstance(layer, nn.Conv2d)

    return make_plan(model, budget, kernels, selector, example=x, where=where, rank_multiple=MULTIPLE)


def latency_cases() -> list[LazyRow]:
    """Return what a plan for half the measured time measures, from both sides: 0.42 to 0.53 of the dense."""
    return [
        LazyRow(f"{name}, latency=0.5, {bound}", partial(_halved, name, bound)) for name in SHARES for bound in BOUNDS
    ]


def _halved(name: str, bound: str) -> Row:
    dense, small, x = _by_latency(name)
    work, compressed, uncompressed = f"{name}, latency=0.5, {bound}", forward(small, x), forward(dense, x)
    if bound == BOUNDS[0]:
        return Row(work, "dense", compressed, uncompressed, 1 / 0.53)
    return Row(f"{work}: dense", "the compressed", uncompressed, compressed, 0.42)


@lru_cache(maxsize=1)  # for both bounds
def _by_latency(name: str) -> tuple[nn.Module, nn.Module, Tensor]:
    dense, x = _network(name)
    return dense, compress(dense, _planned(dense, Budget(latency=0.5), KERNELS, "energy", x)), x


def forward(model: nn.Module, x: Tensor) -> Callable[[], Any]:
    """Return a forward pass in torch, to be called without arguments."""

    def run() -> Any:
        with torch.inference_mode():
            return model(x)

    return run


def _runtime(model: nn.Module, x: Tensor) -> Callable[[], Any]:
    """Return a forward pass of the exported network in onnxruntime, with as many threads as torch has."""
    import onnxruntime

    plain, x = copy.deepcopy(model).to(memory_format=torch.contiguous_format), x.contiguous()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        export(plain, x[:2], path)
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return partial(session.run, None, {session.get_inputs()[0].name: x.numpy()})


COMPRESS = "compress ResNet-50, Tucker-2 at EVBMF's ranks, planning included"
DECOMPOSED = "tensorly partial_tucker of the same layers at the same ranks"
RANKED = "EVBMF on full SVDs of the unfoldings, then tensorly partial_tucker"


def compress_cases() -> list[LazyRow]:
    """Return ResNet-50 compressed by Tucker-2 with EVBMF's ranks, planning included; at most 10 s are asked.

    Against tensorly, which has no EVBMF, at ranks that are given to it, and with an EVBMF on full SVDs before it.
    """
    return [LazyRow(f"{COMPRESS} ({words})", partial(_compression, words)) for words in (DECOMPOSED, RANKED)]


def _compression(against: str) -> Row:
    import tensorly
    from tensorly.decomposition import partial_tucker

    model, x = _planted(torchvision.models.resnet50()).eval(), torch.randn(1, 3, SIZE, SIZE)

    def planned() -> Plan:
        return make_plan(model, Budget(macs=1.0), ("tucker",), "evbmf", example=x)

    chosen = [(model.get_parameter(f"{p.name}.weight").detach(), p.spec["ranks"]) for p in planned().layers if p.kernel]

    def rank(matrix: Tensor) -> int:
        spectrum = torch.linalg.svd(matrix, full_matrices=False)[1]
        return int(evbmf_spectrum(spectrum, (matrix.shape[0], matrix.shape[1])).rank)

    def theirs() -> list[Any]:
        with tensorly.backend_context("pytorch", local_threadsafe=True):
            return [
                partial_tucker(w, rank=[rank(tensorly.unfold(w, mode)) for mode in (0, 1)], modes=[0, 1])
                if against == RANKED
                else partial_tucker(w, rank=ranks, modes=[0, 1])
                for w, ranks in chosen
            ]

    return Row(COMPRESS, against, lambda: compress(model, planned()), theirs, 10, at_most=10)


def _planted(model: nn.Module) -> nn.Module:
    """Give 3 x 3 weights half the rank in both modes, and noise: for EVBMF to find, as in a trained network."""
    torch.manual_seed(0)
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d) and max(layer.kernel_size) > 1:
            out, into, height, width = layer.weight.shape
            u, v = torch.randn(out, -(-out // 2)), torch.randn(into, -(-into // 2))
            core = torch.randn(u.shape[1], v.shape[1], height, width)
            signal = torch.einsum("op,pqhw,iq->oihw", u, core, v)
            layer.weight.data = signal / signal.std() + 0.3 * torch.randn_like(signal)
    return model
