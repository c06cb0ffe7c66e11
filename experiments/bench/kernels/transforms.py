"""What the kernels must beat, one row per promise of speed; `theirs / ours` is to be at least `at_least`."""

from functools import partial

import pywt
import scipy.fft
import torch
import torch.nn.functional as F
from torch import Tensor

import stage3_torch

from ..row import Row


def _signal(rows: int, n: int) -> Tensor:
    return torch.randn(rows, n, generator=torch.Generator().manual_seed(0))


def dct_cases(device: str = "cpu") -> list[Row]:
    """Return the orthonormal DCT-II along the last axis in float32, against torch-dct and SciPy on two threads."""
    import torch_dct  # a peer, in the optional group `bench`

    rows = []
    for n, faster_than_torch, faster_than_scipy in ((64, 4.0, 1.0), (512, 2.0, 0.5)):
        x = _signal(4096, n).to(device)
        work, ours = f"dct of 4096x{n}", partial(stage3_torch.dct, x)
        torch_dcts = partial(torch_dct.dct, x, norm="ortho")
        scipys = partial(scipy.fft.dct, x.cpu().numpy(), norm="ortho", workers=2)
        rows += [
            Row(work, "torch-dct", ours, torch_dcts, faster_than_torch),
            Row(work, "scipy.fft, 2 workers", ours, scipys, faster_than_scipy),
        ]
    return rows


def _strided_convolutions(x: Tensor, filters: Tensor, levels: int) -> list[Tensor]:
    """Compute the usual dwt in torch: per level circular padding and one convolution of stride 2 with both filters."""
    details: list[Tensor] = []
    approx = x[:, None]
    reach = filters.shape[-1] // 2 - 1
    for _ in range(levels):
        approx, detail = F.conv1d(F.pad(approx, (reach, reach), mode="circular"), filters, stride=2).split(1, 1)
        details.insert(0, detail[:, 0])
    return [approx[:, 0], *details]


def dwt_cases(device: str = "cpu") -> list[Row]:
    """Return three levels of db2 along the last axis in float32, against PyWavelets and the strided convolution."""
    x = _signal(4096, 1024).to(device)
    wavelet = pywt.Wavelet("db2")
    filters = torch.tensor([wavelet.dec_lo[::-1], wavelet.dec_hi[::-1]], device=device)[:, None]
    work, ours = "dwt db2, 3 levels, 4096x1024", partial(stage3_torch.dwt, x, "db2", 3)
    pywts = partial(pywt.wavedec, x.cpu().numpy(), "db2", "periodization", 3)
    return [
        Row(work, "pywt.wavedec", ours, pywts, 1 / 1.5),
        Row(work, "strided conv1d in torch", ours, partial(_strided_convolutions, x, filters, 3), 4.0),
    ]
