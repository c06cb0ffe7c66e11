"""Ranks from spectra without reading a number back: every rank is tried at once, in float64, over batch axes.

Ranks are piecewise constant in x: nothing here has a gradient.
"""

from math import ceil

import torch
from torch import Tensor

from contract import EVB, check_spectrum, need
from stage2_numpy.ranks import tau_threshold

from .checks import check_tensor
from .tensor import wide


def energy_rank(s: Tensor, energy: float) -> Tensor:
    """The smallest r (...) of s (..., n) with s_1^2 + ... + s_r^2 >= energy |s|^2, at least 1; s in any order.

    "At least" is meant up to the rounding of s itself: energy 1 keeps what counts in a sum of squares of that
    precision, and singular values of 1e-17 do not.
    """
    check_tensor(s)
    need(0 < energy <= 1, "energy", energy, "in (0, 1]")
    tails = wide(s).detach().double().square().sort(-1).values.cumsum(-1)  # tails[n - 1 - r] is what rank r leaves
    allowed = (1 - energy + torch.finfo(wide(s).dtype).eps) * tails[..., -1:]
    return (tails > allowed).sum(-1).clamp(min=1)


def evbmf(x: Tensor) -> EVB[Tensor]:
    """Rank, noise variance and shrunk singular values of x (..., m, n) by empirical variational Bayes.

    The squared singular values are the eigenvalues of the Gram matrix of the shorter side, in float64: accurate to
    1e-16 of the largest, which is where `evbmf_spectrum` ends the noise.
    """
    check_tensor(x)
    need(x.ndim >= 2, "x.ndim", x.ndim, "at least 2")
    y = x.detach().double()
    y = y if x.shape[-2] <= x.shape[-1] else y.mT
    squares = torch.linalg.eigvalsh(y @ y.mT).clamp(min=0)
    return _analyse(squares.flip(-1), min(x.shape[-2:]), max(x.shape[-2:]), x.dtype)


def evbmf_spectrum(s: Tensor, shape: tuple[int, int]) -> EVB[Tensor]:
    """The same from all singular values s (..., min(m, n)) of matrices of that shape."""
    check_tensor(s)
    check_spectrum(s, shape)
    squares = s.detach().double().square().sort(-1, descending=True).values
    return _analyse(squares, min(shape), max(shape), s.dtype)


def _tau(x: Tensor, alpha: float) -> Tensor:
    """The larger root of x = (1 + tau)(1 + alpha / tau), for x above the threshold."""
    half = (x - (1 + alpha)) / 2
    return half + (half.square() - alpha).clamp(min=0).sqrt()


def _analyse(squares: Tensor, small: int, large: int, dtype: torch.dtype) -> EVB[Tensor]:
    """Nakajima et al. 2013 by stationarity: with k components of signal the free energy F of the noise variance has

        dF / d log sigma^2 = small - sum_{h > k} x_h - sum_{h <= k} (1 + alpha + alpha / tau_h) = 0,

    x_h = s_h^2 / (large sigma^2), x_h = (1 + tau_h)(1 + alpha / tau_h).  So sigma^2 = (what the k leave) / (small -
    sum (1 + alpha + alpha / tau_h)), a fixed point of which three steps from tau = infinity place every k between
    its kinks; the k of least F is then bisected.
    """
    alpha, threshold = small / large, tau_threshold(small / large)
    x_low = (1 + threshold) * (1 + alpha / threshold)
    total = squares.sum(-1, keepdim=True)
    power = squares / torch.where(total > 0, total, 1) / large  # x_h = power_h / sigma^2, for a matrix of norm 1
    most = ceil(small / (1 + alpha)) - 1  # more components than this are never signal
    tails = power.flip(-1).cumsum(-1).flip(-1)
    floor = 4 * torch.finfo(torch.float64).eps / large  # what the eigenvalues of a Gram matrix in float64 resolve
    low = torch.maximum(power[..., most] / x_low, tails[..., most] / (small - most)).clamp(min=floor)[..., None]
    high = torch.clamp(low, min=1 / (small * large))
    kinks = power[..., : most + 1] / x_low
    a = torch.minimum(torch.maximum(kinks, low), high)  # (..., k): sigma^2 at which component k + 1 would be signal
    b = torch.cat([high, a[..., :-1]], -1)
    k = torch.arange(most + 1, device=squares.device)
    signal, head = k < k[:, None], power[..., None, : most + 1]  # signal[k, h]: component h + 1 is among the first k

    def slope(sigma2: Tensor, signal: Tensor, head: Tensor) -> Tensor:
        """sum_{h <= k} (1 + alpha + alpha / tau_h)."""
        tau = _tau((head / sigma2[..., None]).clamp(min=x_low), alpha)
        return torch.where(signal, 1 + alpha + alpha / tau, 0).sum(-1)

    sigma2 = tails[..., : most + 1] / (small - k * (1 + alpha))
    for _ in range(3):
        sigma2 = torch.minimum(torch.maximum(sigma2, a), b)
        left = small - slope(sigma2, signal, head)
        sigma2 = torch.where(left > 0, tails[..., : most + 1] / left, b)
    sigma2 = torch.minimum(torch.maximum(sigma2, a), b)
    tau = _tau((head / sigma2[..., None]).clamp(min=x_low), alpha)
    psi = torch.log1p(tau) + alpha * torch.log1p(tau / alpha) - tau
    energy = power.sum(-1, keepdim=True) / sigma2 + small * sigma2.log() + torch.where(signal, psi, 0).sum(-1)
    best = energy.argmin(-1, keepdim=True)
    a, b, tail, signal = a.gather(-1, best), b.gather(-1, best), tails.gather(-1, best), (k < best)[..., None, :]
    for _ in range(60):
        middle = (a * b).sqrt()
        falling = small - slope(middle, signal, head) < tail / middle
        a, b = torch.where(falling, middle, a), torch.where(falling, b, middle)
    x = power / b
    kept = x > x_low
    tau = _tau(x.clamp(min=x_low), alpha)
    shrunk = torch.where(kept, squares.sqrt() * tau / x.clamp(min=x_low), 0)
    return EVB(kept.sum(-1).clamp(min=1), (b * total)[..., 0].to(dtype), shrunk.to(dtype))
