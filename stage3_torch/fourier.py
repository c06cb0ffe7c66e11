"""The trigonometric transforms: a matrix product for short axes, an FFT for long ones, differentiable either way."""

from math import pi

import torch
import torch.nn.functional as F
from torch import Tensor

from checks import check_axis, check_type
from stage2_numpy.fourier import SHIFTS, dht_basis, ends, trig_basis

from .checks import COMPLEX as COMPLEX_DTYPES, FLOATS, check_tensor
from .tables import COMPLEX, along, length, table

# type -> up to how many samples one matrix product beats the FFT and its passes over memory before and after.
# Milliseconds per 2^21 values in float32 on two AVX-512 cores, at 256, 512, 1024 and 2048 samples a line:
#   product 2.7 5.1 10 21; type I 5.6 5.9 9.6 7.9; II 2.9 3.2 3.4 4.1; III 4.9 3.8 6.6 5.1; IV 14 16 24 21;
#   Hartley 1.7 1.9 2.1 2.2
# (lengths that are no power of two cost the FFT up to twice that, hence the margins)
DENSE = {1: 768, 2: 384, 3: 384, 4: 2048}
DENSE_HARTLEY = 192

INVERSE = {1: 1, 2: 3, 3: 2, 4: 4}  # the type of the transposed matrix, which is the inverse


def _turn(n: int, wave: str, type: int) -> Tensor:
    """sqrt(2/P) e_k exp(-i pi b (k+a) / P), times i for the sine: what is left of T_ki after the FFT of length 2P.

    cos(pi (k+a)(i+b) / P) = Re exp(-2 pi i (k+a) i / 2P) exp(-i pi b (k+a) / P), and Re i exp(-i t) = sin t.
    """
    a, b, p = SHIFTS[wave, type]
    k, period = torch.arange(n, dtype=torch.float64) + a, n + p
    turn = torch.from_numpy(ends(n, a, period)) * torch.exp(-1j * pi * b * k / period)
    return (2 / period) ** 0.5 * (turn if wave == "cos" else 1j * turn)


def _weights(n: int, wave: str) -> Tensor:
    """e_i of the type I."""
    return torch.from_numpy(ends(n, SHIFTS[wave, 1][1], n + SHIFTS[wave, 1][2]))


def _fft_1(x: Tensor, wave: str) -> Tensor:
    n, (low, _, p) = length(x), SHIFTS[wave, 1]
    spectrum = torch.fft.rfft(x * table(_weights, n, wave, like=x), 2 * (n + p))[..., int(low) : int(low) + n]
    return (spectrum * table(_turn, n, wave, 1, like=x, dtype=COMPLEX[x.dtype])).real


def _fold(n: int) -> Tensor:
    """Even samples upwards, then odd ones downwards, that sequence read backwards around the circle."""
    folded = torch.cat([torch.arange(0, n, 2), torch.arange(1, n, 2).flip(0)])
    return folded[-torch.arange(n) % n]


def _unfold(n: int, wave: str) -> Tensor:
    """Where X_k lies among Re Z_0, Im Z_0, Re Z_1, ...: at Re Z_k up to the middle, at Im Z_(n-k) beyond it."""
    k = torch.arange(n)
    at = torch.where(k <= n // 2, 2 * k, 2 * (n - k) + 1)
    return at if wave == "cos" else at.flip(0)


def _fft_2(x: Tensor, wave: str) -> Tensor:
    """One real FFT of length n (Makhoul 1980, eq. 20): X_k = Re Z_k, X_(n-k) = Im Z_k, Z = turn* FFT(folded x).

    Folded backwards, the FFT comes out conjugated, which spares a change of sign.  S x = reversed C (x_0, -x_1, ...).
    """
    n = length(x)
    if wave == "sin":
        x = x * table(_alternate, n, like=x)
    spectrum = torch.fft.rfft(x.index_select(-1, table(_fold, n, like=x, dtype=torch.int64)))
    spectrum.mul_(table(_half_turn, n, like=x, dtype=COMPLEX[x.dtype]))  # in place: one buffer less to page in
    return torch.view_as_real(spectrum).flatten(-2).index_select(-1, table(_unfold, n, wave, like=x, dtype=torch.int64))


def _half_turn(n: int) -> Tensor:
    """turn* of the type II at the frequencies that a real FFT returns."""
    return _turn(n, "cos", 2)[: n // 2 + 1].conj().resolve_conj()


def _alternate(n: int) -> Tensor:
    return (-1.0) ** torch.arange(n)


def _adjoint_turn(n: int, wave: str) -> Tensor:
    """conj(turn) of the type II, weighted for irfft, which counts the frequencies 0 and n once and others twice."""
    return _turn(n, wave, 2).conj() / (2 * torch.from_numpy(ends(n, SHIFTS[wave, 2][0], n)) ** 2)


def _fft_3(x: Tensor, wave: str) -> Tensor:
    """The adjoint of the type II, by an inverse FFT of length 2n."""
    n, low = length(x), int(SHIFTS[wave, 2][0])
    spectrum = F.pad(x * table(_adjoint_turn, n, wave, like=x, dtype=COMPLEX[x.dtype]), (low, 1 - low))
    return torch.fft.irfft(spectrum, 2 * n, norm="forward")[..., :n]


def _half_step(n: int) -> Tensor:
    """exp(-i pi i / 2n): moves every frequency by one half."""
    return torch.exp(-0.5j * pi * torch.arange(n, dtype=torch.float64) / n)


def _fft_4(x: Tensor, wave: str) -> Tensor:
    n = length(x)
    spectrum = torch.fft.fft(x * table(_half_step, n, like=x, dtype=COMPLEX[x.dtype]), 2 * n)[..., :n]
    return (spectrum * table(_turn, n, wave, 4, like=x, dtype=COMPLEX[x.dtype])).real


FAST = {1: _fft_1, 2: _fft_2, 3: _fft_3, 4: _fft_4}


def _trig(x: Tensor, wave: str, type: int) -> Tensor:
    """T x along the last axis, T the orthonormal matrix of `trig_basis`."""
    if length(x) <= DENSE[type]:
        return x @ table(trig_basis, length(x), wave, INVERSE[type], like=x)
    return FAST[type](x, wave)


def _hartley(x: Tensor) -> Tensor:
    """H x along the last axis."""
    if length(x) <= DENSE_HARTLEY:
        return x @ table(dht_basis, length(x), like=x)  # H is symmetric
    spectrum = torch.fft.fft(x, norm="ortho")
    return spectrum.real - spectrum.imag


def _apply(x: Tensor, wave: str, type: int, axis: int, inverse: bool) -> Tensor:
    check_tensor(x, values=not inverse)
    check_axis(axis, x.ndim)
    check_type(type, x.shape[axis], wave)
    return along(lambda line: _trig(line, wave, INVERSE[type] if inverse else type), x, axis)


def dct(x: Tensor, type: int = 2, axis: int = -1) -> Tensor:
    """X = C x along `axis`, C orthonormal of type I to IV; differentiable.

    Args:
        x: floats of any shape.
        type: 1 to 4.
        axis: along which axis; the others are batch axes.

    Returns:
        The coefficients, in the shape of x.

    Raises:
        ValueError: x, type or axis cannot be used; the sentence says which.

    Example:
        >>> dct(torch.tensor([3.0, 1.0]))  # (3 + 1, 3 - 1) / sqrt 2
        tensor([2.8284, 1.4142])
    """
    return _apply(x, "cos", type, axis, inverse=False)


def idct(y: Tensor, type: int = 2, axis: int = -1) -> Tensor:
    """x = C^T X along `axis`, the inverse and the adjoint of `dct`.

    Args:
        y: coefficients of any shape.
        type: that of `dct`.
        axis: that of `dct`.

    Returns:
        The signal, in the shape of y.

    Raises:
        ValueError: y, type or axis cannot be used; the sentence says which.

    Example:
        >>> idct(dct(torch.tensor([3.0, 1.0]))).round(decimals=4)
        tensor([3., 1.])
    """
    return _apply(y, "cos", type, axis, inverse=True)


def dst(x: Tensor, type: int = 2, axis: int = -1) -> Tensor:
    """X = S x along `axis`, S orthonormal of type I to IV; differentiable.

    Args:
        x: floats of any shape.
        type: 1 to 4.
        axis: along which axis; the others are batch axes.

    Returns:
        The coefficients, in the shape of x.

    Raises:
        ValueError: x, type or axis cannot be used; the sentence says which.

    Example:
        >>> dst(torch.tensor([3.0, 1.0]))  # (3 + 1, 3 - 1) / sqrt 2
        tensor([2.8284, 1.4142])
    """
    return _apply(x, "sin", type, axis, inverse=False)


def idst(y: Tensor, type: int = 2, axis: int = -1) -> Tensor:
    """x = S^T X along `axis`, the inverse and the adjoint of `dst`.

    Args:
        y: coefficients of any shape.
        type: that of `dst`.
        axis: that of `dst`.

    Returns:
        The signal, in the shape of y.

    Raises:
        ValueError: y, type or axis cannot be used; the sentence says which.

    Example:
        >>> idst(dst(torch.tensor([3.0, 1.0]))).round(decimals=4)
        tensor([3., 1.])
    """
    return _apply(y, "sin", type, axis, inverse=True)


def dft(x: Tensor, axis: int = -1) -> Tensor:
    """X = F x along `axis`, F unitary; complex64 for float32, float16 and bfloat16.

    Args:
        x: floats or complex numbers of any shape.
        axis: along which axis; the others are batch axes.

    Returns:
        Complex coefficients, in the shape of x.

    Raises:
        ValueError: x or axis cannot be used; the sentence says which.

    Example:
        >>> dft(torch.ones(4)).abs().round(decimals=4)
        tensor([2., 0., 0., 0.])
    """
    check_tensor(x, dtypes=(*FLOATS, *COMPLEX_DTYPES))
    check_axis(axis, x.ndim)
    return along(lambda line: torch.fft.fft(line, norm="ortho"), x, axis)


def idft(y: Tensor, axis: int = -1) -> Tensor:
    """x = F^H X along `axis`, complex, the inverse and the adjoint of `dft`.

    Args:
        y: floats or complex coefficients of any shape.
        axis: that of `dft`.

    Returns:
        The signal, complex, in the shape of y.

    Raises:
        ValueError: y or axis cannot be used; the sentence says which.

    Example:
        >>> idft(dft(torch.tensor([3.0, 1.0]))).real.round(decimals=4)
        tensor([3., 1.])
    """
    check_tensor(y, dtypes=(*FLOATS, *COMPLEX_DTYPES), values=False)
    check_axis(axis, y.ndim)
    return along(lambda line: torch.fft.ifft(line, norm="ortho"), y, axis)


def dht(x: Tensor, axis: int = -1) -> Tensor:
    """H = Re X - Im X of the DFT X along `axis`: real and orthonormal.

    Args:
        x: floats of any shape.
        axis: along which axis; the others are batch axes.

    Returns:
        Real coefficients, in the shape of x.

    Raises:
        ValueError: x or axis cannot be used; the sentence says which.

    Example:
        >>> dht(torch.tensor([3.0, 1.0]))  # (3 + 1, 3 - 1) / sqrt 2
        tensor([2.8284, 1.4142])
    """
    check_tensor(x)
    check_axis(axis, x.ndim)
    return along(_hartley, x, axis)


def idht(y: Tensor, axis: int = -1) -> Tensor:
    """x = dht(H) along `axis`: the Hartley transform is its own inverse and adjoint.

    Args:
        y: coefficients of any shape.
        axis: that of `dht`.

    Returns:
        The signal, in the shape of y.

    Raises:
        ValueError: y or axis cannot be used; the sentence says which.

    Example:
        >>> idht(dht(torch.tensor([3.0, 1.0]))).round(decimals=4)
        tensor([3., 1.])
    """
    check_tensor(y, values=False)
    check_axis(axis, y.ndim)
    return along(_hartley, y, axis)
