"""The trigonometric transforms: a matrix product for short axes, an FFT for long ones, differentiable either way."""

from math import pi

import torch
import torch.nn.functional as F
from torch import Tensor

from checks import check_axis, check_type
from stage2_numpy.fourier import SHIFTS, dht_basis, ends, trig_basis

from .checks import check_tensor
from .tables import along, length, table

# Up to here one matrix product beats the FFT and its passes over memory before and after.  Milliseconds per 2^21 values
# in float32 on one AVX-512 core, product / FFT: type II of 256 samples 7 / 15, of 512 10 / 10, of 1024 21 / 9.
DENSE = 512
DENSE_IV = 1024  # its FFT is complex and twice as long: 12 / 38, 23 / 43 at 1024, 79 / 70 at 2048
DENSE_HARTLEY = 256  # nothing but a subtraction follows its FFT: 1.5 / 3 at 64, 11 / 8 at 256, 10 / 3 at 512

INVERSE = {1: 1, 2: 3, 3: 2, 4: 4}  # the type of the transposed matrix, which is the inverse


def _weights(n: int, wave: str, type: int) -> Tensor:
    """e_i of `trig_basis`, at its input."""
    _, b, p = SHIFTS[wave, type]
    return torch.from_numpy(ends(n, b, n + p))


def _turn(n: int, wave: str, type: int) -> Tensor:
    """sqrt(2/P) e_k exp(-i pi b (k+a) / P), times i for the sine: what is left of T_ki after the FFT of length 2P.

    cos(pi (k+a)(i+b) / P) = Re exp(-2 pi i (k+a) i / 2P) exp(-i pi b (k+a) / P), and Re i exp(-i t) = sin t.
    """
    a, b, p = SHIFTS[wave, type]
    k, period = torch.arange(n, dtype=torch.float64) + a, n + p
    turn = torch.from_numpy(ends(n, a, period)) * torch.exp(-1j * pi * b * k / period)
    return (2 / period) ** 0.5 * (turn if wave == "cos" else 1j * turn)


def _adjoint_turn(n: int, wave: str, type: int) -> Tensor:
    """conj(turn) weighted for irfft, which counts the frequencies 0 and P once and those between twice."""
    a, _, p = SHIFTS[wave, type]
    return _turn(n, wave, type).conj() / (2 * torch.from_numpy(ends(n, a, n + p)) ** 2)


def _half_step(n: int) -> Tensor:
    """exp(-i pi i / 2n): moves every frequency of the type IV by one half."""
    return torch.exp(-0.5j * pi * torch.arange(n, dtype=torch.float64) / n)


def _trig(x: Tensor, wave: str, type: int) -> Tensor:
    """T x along the last axis, T the orthonormal matrix of `trig_basis`."""
    n = length(x)
    if n <= (DENSE_IV if type == 4 else DENSE):
        return x @ table(trig_basis, n, wave, INVERSE[type], like=x)
    period = n + SHIFTS[wave, type][2]
    if type == 3:  # the adjoint of the type II, step by step backwards
        low = round(SHIFTS[wave, 2][0])
        spectrum = F.pad(x * table(_adjoint_turn, n, wave, 2, like=x, complex=True), (low, period + 1 - low - n))
        return torch.fft.irfft(spectrum, 2 * period, norm="forward")[..., :n]
    if type == 4:
        spectrum = torch.fft.fft(x * table(_half_step, n, like=x, complex=True), 2 * period)[..., :n]
    else:
        low = round(SHIFTS[wave, type][0])
        spectrum = torch.fft.rfft(x * table(_weights, n, wave, type, like=x), 2 * period)[..., low : low + n]
    return (spectrum * table(_turn, n, wave, type, like=x, complex=True)).real


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
    """X = C x along `axis`, C orthonormal of type I to IV; every other axis is a batch axis."""
    return _apply(x, "cos", type, axis, inverse=False)


def idct(y: Tensor, type: int = 2, axis: int = -1) -> Tensor:
    """x = C^T X along `axis`, the inverse and the adjoint of `dct`."""
    return _apply(y, "cos", type, axis, inverse=True)


def dst(x: Tensor, type: int = 2, axis: int = -1) -> Tensor:
    """X = S x along `axis`, S orthonormal of type I to IV; every other axis is a batch axis."""
    return _apply(x, "sin", type, axis, inverse=False)


def idst(y: Tensor, type: int = 2, axis: int = -1) -> Tensor:
    """x = S^T X along `axis`, the inverse and the adjoint of `dst`."""
    return _apply(y, "sin", type, axis, inverse=True)


def dft(x: Tensor, axis: int = -1) -> Tensor:
    """X = F x along `axis`, F unitary, x real or complex; complex64 for float32, float16 and bfloat16."""
    check_tensor(x, dtype="float|complex")
    check_axis(axis, x.ndim)
    return along(lambda line: torch.fft.fft(line, norm="ortho"), x, axis)


def idft(y: Tensor, axis: int = -1) -> Tensor:
    """x = F^H X along `axis`, complex, the inverse and the adjoint of `dft`."""
    check_tensor(y, dtype="float|complex", values=False)
    check_axis(axis, y.ndim)
    return along(lambda line: torch.fft.ifft(line, norm="ortho"), y, axis)


def dht(x: Tensor, axis: int = -1) -> Tensor:
    """X = H x along `axis`, real and orthonormal; every other axis is a batch axis."""
    check_tensor(x)
    check_axis(axis, x.ndim)
    return along(_hartley, x, axis)


def idht(y: Tensor, axis: int = -1) -> Tensor:
    """x = H X along `axis`: H is its own inverse and adjoint."""
    check_tensor(y, values=False)
    check_axis(axis, y.ndim)
    return along(_hartley, y, axis)
