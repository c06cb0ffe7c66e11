"""What a GPU makes of the kernels and of a low-rank network: the rows of `bench gpu`."""

import copy
from collections.abc import Sequence
from functools import lru_cache, partial
from typing import Any

import torch
import torchvision
from torch import Tensor, nn

from checks import require
from layers import Budget, compress, make_plan

from ..kernels.ranks import evbmf_cases, ht_cases, svd_cases
from ..kernels.tensors import cp_cases, tucker_cases
from ..kernels.transforms import dct_cases, dwt_cases
from ..networks import forward
from ..row import LazyRow, Row

BATCH, SIZE, MULTIPLE = 64, 224, 64
MIXES = (("svd",), ("svd", "spatial"), ("svd", "tucker"))


def gpu_cases() -> list[Row | LazyRow]:
    """Return all rows; ValueError on a machine without CUDA."""
    require(
        torch.cuda.is_available(), "device", "none (torch.cuda.is_available() is False)", "a CUDA GPU for bench gpu"
    )
    return [*kernel_cases("cuda"), *network_cases("cuda")]


def kernel_cases(device: str) -> list[Row]:
    """Return Tucker and CP against tensorly on one device, and the rows of `bench kernels` against the same on the CPU.

    Nothing but not to be slower is asked.
    """
    peers = [row._replace(at_least=1.0) for row in (*tucker_cases(device=device), *cp_cases(device=device))]
    on_cpu = {}  # by work, which two peers may share
    for cases in (tucker_cases, cp_cases, svd_cases, evbmf_cases, dct_cases, dwt_cases, ht_cases):
        for here, there in zip(cases(device=device), cases()):
            on_cpu[here.work] = Row(here.work, "the same on the CPU", here.ours, there.ours, 1.0, here.error)
    return [*peers, *on_cpu.values()]


def network_cases(device: str, batch: int = BATCH, size: int = SIZE) -> list[LazyRow]:
    """Return ResNet-50 at half the MACs in bf16 against dense, with and without torch.compile: 1.5 times as fast."""
    rows = []
    for kernels in MIXES:
        for compiled in ("", ", torch.compile"):
            work = f"resnet50, {' + '.join(kernels)}, bf16, batch {batch}{compiled}"
            rows.append(LazyRow(work, partial(_speed, work, kernels, compiled, device, batch, size)))
    return rows


def _speed(work: str, kernels: Sequence[str], compiled: str, *where: Any) -> Row:
    dense, small, x = _networks(kernels, *where)
    if compiled:
        dense, small = copy.deepcopy(dense), copy.deepcopy(small)
        dense.compile()
        small.compile()
    return Row(work, f"dense{compiled}", forward(small, x), forward(dense, x), 1.5)


@lru_cache(maxsize=1)  # with and without torch.compile
def _networks(kernels: Sequence[str], device: str, batch: int, size: int) -> tuple[nn.Module, nn.Module, Tensor]:
    """Return (dense, compressed, images), in bf16 and channels_last, the weights random."""
    torch.manual_seed(0)
    dense, x = torchvision.models.resnet50().eval(), torch.randn(batch, 3, size, size)
    plan = make_plan(dense, Budget(macs=0.5), kernels, "uniform", example=x[:1], rank_multiple=MULTIPLE)
    dense, small = (
        model.to(device, torch.bfloat16).to(memory_format=torch.channels_last)
        for model in (dense, compress(dense, plan))
    )
    return dense, small, x.to(device, torch.bfloat16, memory_format=torch.channels_last)
