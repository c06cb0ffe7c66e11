"""Orthonormal wavelet transforms: one matrix product for short axes, blocks or an FFT per octave for long ones."""

import torch
from torch import Tensor

from checks import check_axis, check_levels, check_wavelet, check_wavelet_code
from stage2_numpy.wavelet import dwt_basis, dwt_lengths, shannon_basis

from .banded import analyse, levels_at_once, synthesise
from .checks import check_tensor
from .tables import along, length, table

# Up to here one product with the matrix of all levels beats blocks with halos (float32, AVX-512).
SHORT = 256
DENSE_SHANNON = 448  # and the one with Shannon's basis the FFTs: 2.7 / 4.7 ms per 2^21 values at 256, 5.1 / 4.5 at 512


def _plan(n: int, wavelet: str, levels: int) -> list[tuple[int, int]]:
    """[(samples, levels composed in one step)], fine to coarse: all that are left once the signal is short.

    An odd length is planned as the even one below it: while that halves evenly, the last sample passes every level.
    """
    plan = []
    while levels:
        step = levels if n <= SHORT else levels_at_once(n - n % 2, wavelet, levels)
        plan.append((n, step))
        n, levels = -(-n // 2**step), levels - step
    return plan


def _step(x: Tensor, wavelet: str, levels: int) -> list[Tensor]:
    """Take one step of the plan: [approx, coarsest detail, ..., finest]."""
    n = length(x)
    if n > SHORT:
        approx, *details = analyse(x[..., : n - n % 2], wavelet, levels)
        return [torch.cat([approx, x[..., n - 1 :]], -1) if n % 2 else approx, *details]
    y = x @ table(dwt_basis, n, wavelet, levels, like=x).T
    sizes = dwt_lengths(n, levels)
    return [y[..., sum(sizes[:band]) : sum(sizes[: band + 1])] for band in range(levels + 1)]


def _unstep(code: list[Tensor], wavelet: str) -> Tensor:
    """Undo one step of the plan."""
    n = sum(length(part) for part in code)
    if n > SHORT:
        half = length(code[1])  # shorter than the approximation by the sample that passed, if there was one
        even = synthesise([code[0][..., :half], *code[1:]], wavelet)
        return torch.cat([even, code[0][..., half:]], -1) if n % 2 else even
    return torch.cat(code, -1) @ table(dwt_basis, n, wavelet, len(code) - 1, like=code[0])


def _dwt(x: Tensor, wavelet: str, levels: int) -> tuple[Tensor, ...]:
    details: list[Tensor] = []
    for _, step in _plan(length(x), wavelet, levels):
        x, *finer = _step(x, wavelet, step)
        details = [*finer, *details]
    return (x, *details)


def _idwt(code: tuple[Tensor, ...], wavelet: str) -> Tensor:
    x, *details = code
    for _, step in reversed(_plan(sum(length(part) for part in code), wavelet, len(details))):
        x, details = _unstep([x, *details[:step]], wavelet), details[step:]
    return x


def dwt(x: Tensor, wavelet: str = "haar", levels: int = 1, axis: int = -1) -> tuple[Tensor, ...]:
    """(approx, coarsest detail, ..., finest detail) = W x along `axis`; differentiable.

    Odd lengths: the last sample passes unchanged into the approximation.

    Args:
        x: floats of any shape.
        wavelet: haar, db1 to db38, sym2 to sym20 or coif1 to coif17.
        levels: 0 to ceil(log2 n).
        axis: along which axis; the others are batch axes.

    Returns:
        levels + 1 arrays, which together have as many numbers as x.

    Raises:
        ValueError: x, wavelet, levels or axis cannot be used; the sentence says which.

    Example:
        >>> dwt(torch.tensor([3.0, 1.0, 4.0]))[1]  # (3 - 1) / sqrt 2; the 4 passes
        tensor([1.4142])
    """
    check_tensor(x)
    check_axis(axis, x.ndim)
    check_wavelet(wavelet)
    check_levels(levels, length(x, axis))
    return along(lambda line: _dwt(line, wavelet, levels), x, axis)


def idwt(code: tuple[Tensor, ...], wavelet: str = "haar", levels: int | None = None, axis: int = -1) -> Tensor:
    """x = W^T (approx, *details) along `axis`, the inverse of `dwt`; the code alone says how many levels.

    Args:
        code: what `dwt` returned.
        wavelet: that of `dwt`.
        levels: None, or the number of details in the code.
        axis: that of `dwt`.

    Returns:
        The signal, in the shape of x.

    Raises:
        ValueError: the code is none of `dwt`, or wavelet, levels or axis do not fit it.

    Example:
        >>> idwt(dwt(torch.tensor([3.0, 1.0, 4.0]), levels=2), levels=2).round(decimals=4)
        tensor([3., 1., 4.])
    """
    check_wavelet(wavelet)
    check_wavelet_code(code, levels, axis)
    return along(lambda lines: _idwt(lines, wavelet), code, axis)


def _octaves(n: int) -> list[tuple[int, int]]:
    """[(first, count)] of the frequencies strictly between the mean and the Nyquist frequency of n samples."""
    starts = [2**octave for octave in range(n.bit_length()) if 2**octave < (n + 1) // 2]
    return [(a, min(a, (n + 1) // 2 - a)) for a in starts]


def _shannon(x: Tensor) -> Tensor:
    """S x along the last axis: one FFT down, one per octave up.

    The coefficients on the analytic translates of a band are m^(-1/2) sum_f X_f exp(2 pi i f k / m), an inverse DFT of
    length m once each f stands at f mod m.
    """
    n = length(x)
    if n <= DENSE_SHANNON:
        return x @ table(shannon_basis, n, like=x).T
    spectrum = torch.fft.rfft(x, norm="ortho")
    parts = [spectrum[..., :1].real]
    for first, count in _octaves(n):
        band = torch.fft.ifft(spectrum[..., first : first + count].roll(first % count, -1), norm="ortho")
        parts += [2**0.5 * band.real, -(2**0.5) * band.imag]
    return torch.cat(parts if n % 2 else [*parts, spectrum[..., -1:].real], -1)


def _ishannon(y: Tensor) -> Tensor:
    """S^T y along the last axis: `_shannon` backwards."""
    n = length(y)
    if n <= DENSE_SHANNON:
        return y @ table(shannon_basis, n, like=y)
    parts, end = [torch.complex(y[..., :1], torch.zeros_like(y[..., :1]))], 1
    for first, count in _octaves(n):
        cosine, sine = y[..., end : end + count], y[..., end + count : end + 2 * count]
        band = torch.fft.fft(torch.complex(cosine, -sine) * 0.5**0.5, norm="ortho")
        parts.append(band.roll(-(first % count), -1))
        end += 2 * count
    if n % 2 == 0:
        parts.append(torch.complex(y[..., -1:], torch.zeros_like(y[..., -1:])))
    return torch.fft.irfft(torch.cat(parts, -1), n, norm="ortho")


def shannon(x: Tensor, axis: int = -1) -> Tensor:
    """y = S x along `axis`: octave bands of band-limited translates, S orthonormal for every length; differentiable.

    Args:
        x: floats of any shape.
        axis: along which axis; the others are batch axes.

    Returns:
        The coefficients, in the shape of x.

    Raises:
        ValueError: x or axis cannot be used; the sentence says which.

    Example:
        >>> shannon(torch.ones(4)).abs().round(decimals=4)  # the mean alone
        tensor([2., 0., 0., 0.])
    """
    check_tensor(x)
    check_axis(axis, x.ndim)
    return along(_shannon, x, axis)


def ishannon(y: Tensor, axis: int = -1) -> Tensor:
    """x = S^T y along `axis`, the inverse and the adjoint of `shannon`.

    Args:
        y: coefficients of any shape.
        axis: that of `shannon`.

    Returns:
        The signal, in the shape of y.

    Raises:
        ValueError: y or axis cannot be used; the sentence says which.

    Example:
        >>> ishannon(shannon(torch.tensor([3.0, 1.0, 4.0]))).round(decimals=4)
        tensor([3., 1., 4.])
    """
    check_tensor(y, values=False)
    check_axis(axis, y.ndim)
    return along(_ishannon, y, axis)
