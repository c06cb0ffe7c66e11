"""Ranks from spectra without reading a number back: every rank is tried at once, in float64, over batch axes.

Ranks are piecewise constant in x: nothing here has a gradient.
"""

from math import ceil

import torch
from torch import Tensor

from checks import check_spectrum, require
from contract import EVB
from stage2_numpy.ranks import tau_threshold

from .checks import check_tensor, narrow, readable, wide
from .tensor import guarded, syrk


def energy_rank(s: Tensor, energy: float) -> Tensor:
    """The smallest r (...) of s (..., n) with s_1^2 + ... + s_r^2 >= energy |s|^2, at least 1; s in any order.

    "At least" is meant up to rounding: that of the fraction, and an error of eps s_1 in every value, which is what an
    SVD leaves where the matrix has none.  Energy 1 keeps all but those.

    Args:
        s: singular values (..., n), in any order.
        energy: the share of the energy to keep, in (0, 1].

    Returns:
        The ranks (...), 1 to n, of int64.

    Raises:
        ValueError: s is no tensor of finite vectors of floats, or energy is not in (0, 1].

    Example:
        >>> energy_rank(torch.tensor([[3.0, 4.0, 0.0], [1.0, 1.0, 1.0]]), 0.6)
        tensor([1, 2])
    """
    check_tensor(s)
    require(0 < energy <= 1, "energy", energy, "in (0, 1]")
    slack = torch.finfo(torch.float64).eps + s.shape[-1] * torch.finfo(wide(s).dtype).eps ** 2
    values, scale = guarded(wide(s.detach()), s.ndim - 1)
    values = values.double() * scale.clamp_max(1)  # the squares of large ones overflow
    tails = values.square().sort(-1).values.cumsum(-1)  # tails[n - 1 - r] is what rank r leaves
    return (tails > (1 - energy + slack) * tails[..., -1:]).sum(-1).clamp(min=1)


def evbmf(x: Tensor) -> EVB[Tensor]:
    """Find rank, noise variance and shrunk singular values of x (..., m, n) by empirical variational Bayes.

    The squared singular values are the eigenvalues of the Gram matrix of the shorter side, in float64: accurate to
    1e-16 of the largest, which is where `evbmf_spectrum` ends the noise.

    Args:
        x: matrices of floats (..., m, n).

    Returns:
        EVB(rank, sigma2, s): the ranks (...), at least 1; the noise variances (...); the shrunk singular values
        (..., min(m, n)); the last two in the dtype of x.

    Raises:
        ValueError: x is no tensor of finite matrices, or so large or small that its dtype cannot hold the variance.

    Example:
        >>> noise = torch.randn(20, 30, generator=torch.Generator().manual_seed(0))
        >>> evbmf(torch.ones(20, 30) + 0.1 * noise).rank
        tensor(1)
    """
    check_tensor(x)
    require(x.ndim >= 2, "x.ndim", x.ndim, "at least 2")
    y, scale = guarded(wide(x.detach()), x.ndim - 2)
    y = y.double()
    y = y if x.shape[-2] <= x.shape[-1] else y.mT
    squares = torch.linalg.eigvalsh(syrk(y)).clamp(min=0)
    return _analyse(squares.flip(-1), min(x.shape[-2:]), max(x.shape[-2:]), scale[..., 0].double(), x.dtype)


def evbmf_spectrum(s: Tensor, shape: tuple[int, int]) -> EVB[Tensor]:
    """Find the same as `evbmf` from all singular values s (..., min(m, n)) of matrices of that shape.

    Args:
        s: all singular values (..., min(m, n)), in any order.
        shape: (m, n) of each matrix.

    Returns:
        EVB(rank, sigma2, s), as `evbmf` returns it.

    Raises:
        ValueError: s is no tensor of vectors of min(m, n) floats, or its dtype cannot hold the variance.

    Example:
        >>> result = evbmf_spectrum(torch.tensor([9.0, 0.2, 0.1]), (3, 4))
        >>> result.rank, bool(0 < result.s[0] < 9)
        (tensor(1), True)
    """
    check_tensor(s)
    check_spectrum(s, shape)
    values, scale = guarded(wide(s.detach()), s.ndim - 1)
    return _analyse(
        values.double().square().sort(-1, descending=True).values, min(shape), max(shape), scale.double(), s.dtype
    )


def _tau(x: Tensor, alpha: float) -> Tensor:
    """Return the larger root of x = (1 + tau)(1 + alpha / tau), for x above the threshold."""
    half = (x - (1 + alpha)) / 2
    return half + (half.square() - alpha).clamp(min=0).sqrt()


def _slopes(sigma2: Tensor, signal: Tensor, power: Tensor, alpha: float, x_low: float) -> tuple[Tensor, Tensor]:
    """sum_{h <= k} (1 + alpha + alpha / tau_h) and its derivative by log sigma^2; `signal` tells which h are those.

    d tau / d x = tau^2 / (tau^2 - alpha), d x / d log sigma^2 = -x.
    """
    x = (power / sigma2[..., None]).clamp(min=x_low)
    tau = _tau(x, alpha)
    rise = alpha * x / (tau.square() - alpha)
    return torch.where(signal, 1 + alpha + alpha / tau, 0).sum(-1), torch.where(signal, rise, 0).sum(-1)


def _noise_variance(power: Tensor, small: int, alpha: float, x_low: float, floor: float) -> Tensor:
    """sigma^2 (..., 1) of least free energy F for power_h = s_h^2 / large, whose sum is 1 / large (or 0).

    With x_h = power_h / sigma^2 = (1 + tau_h)(1 + alpha / tau_h), and k components of signal (Nakajima et al. 2015),

        F = sum_h x_h + small log sigma^2 + sum_{h <= k} (log(tau_h + 1) + alpha log(tau_h / alpha + 1) - tau_h),
        dF / d log sigma^2 = small - sum_{h > k} x_h - sum_{h <= k} (1 + alpha + alpha / tau_h).

    The zero sigma^2 = sum_{h > k} power_h / (small - sum_{h <= k} (1 + alpha + alpha / tau_h)) is a fixed point, of
    which three steps from tau = infinity place every k at once.  For the k of least F Newton's method does the rest.
    """
    most = ceil(small / (1 + alpha)) - 1  # with more components of signal than this the slope has no zero
    tails, head = power.flip(-1).cumsum(-1).flip(-1)[..., : most + 1], power[..., : most + 1]
    low = torch.maximum(head[..., -1:] / x_low, tails[..., -1:] / (small - most)).clamp(min=floor)
    high = low.clamp(min=alpha / small**2)  # 1 / (small large): all of it is noise
    a = torch.minimum(torch.maximum(head / x_low, low), high)  # below a_k component k + 1 is signal as well,
    b = torch.cat([high, a[..., :-1]], -1)  # and above b_k component k is not
    k = torch.arange(most + 1, device=power.device)
    signal, each = k < k[:, None], head[..., None, :]
    sigma2 = tails / (small - k * (1 + alpha))
    for _ in range(3):
        sigma2 = torch.minimum(torch.maximum(sigma2, a), b)
        left = small - _slopes(sigma2, signal, each, alpha, x_low)[0]
        sigma2 = torch.where(left > 0, tails / left, b)
    sigma2 = torch.minimum(torch.maximum(sigma2, a), b)
    tau = _tau((each / sigma2[..., None]).clamp(min=x_low), alpha)
    psi = torch.log1p(tau) + alpha * torch.log1p(tau / alpha) - tau
    energy = power.sum(-1, keepdim=True) / sigma2 + small * sigma2.log() + torch.where(signal, psi, 0).sum(-1)
    best = energy.argmin(-1, keepdim=True)
    a, b, sigma2, tail = (values.gather(-1, best) for values in (a, b, sigma2, tails))
    for _ in range(6):  # two reach the last digit; a step that leaves (a, b) goes to the middle of it instead
        slopes, rise = _slopes(sigma2, (k < best)[..., None, :], each, alpha, x_low)
        above = sigma2 * (small - slopes) - tail
        a, b = torch.where(above < 0, sigma2, a), torch.where(above < 0, b, sigma2)
        newton = sigma2 - above / (small - slopes - rise)
        sigma2 = torch.where((a <= newton) & (newton <= b), newton, (a * b).sqrt())
    return sigma2


def _analyse(squares: Tensor, small: int, large: int, scale: Tensor, dtype: torch.dtype) -> EVB[Tensor]:
    """Analyse squared singular values (..., small) in descending order, in units of their sum; scale (..., 1)."""
    alpha, threshold = small / large, tau_threshold(small / large)
    x_low = (1 + threshold) * (1 + alpha / threshold)
    total = squares.sum(-1, keepdim=True)
    power = squares / torch.where(total > 0, total, 1) / large
    floor = 4 * torch.finfo(torch.float64).eps / large  # what the eigenvalues of a Gram matrix in float64 resolve
    sigma2 = _noise_variance(power, small, alpha, x_low, floor)
    x = power / sigma2
    kept = x > x_low
    shrunk = torch.where(kept, squares.sqrt() * _tau(x.clamp(min=x_low), alpha) / x.clamp(min=x_low), 0)
    variance = (sigma2 * total * scale * scale)[..., 0].to(dtype)
    if readable(variance):
        fits = (variance.isfinite() & (variance >= torch.finfo(dtype).tiny)) | (total[..., 0] == 0)
        value = f"numbers from near {float(scale.min()):.3g} to {float(scale.max()):.3g}"
        require(bool(fits.all()), "x", value, f"of numbers whose squares {dtype} can hold")
    return EVB(kept.sum(-1).clamp(min=1), variance, narrow(shrunk * scale, dtype))
