"""Several levels of a periodised wavelet transform at once: small matrices times blocks of the signal with halos."""

import torch
from torch import Tensor

from stage2_numpy.filters import filter_length
from stage2_numpy.wavelet import dwt_basis, dwt_lengths

from .tables import length, table

# Periodic and invariant to shifts by 2^levels samples, the transform is block circulant: a block of coefficients is a
# fixed matrix times a block of samples and a halo around it.  The block has room for some levels of filters that are
# not short, and few of its products are with zeros: on two AVX-512 cores 128 takes up to half as long again, 32 up to
# 20 % less for the filters that it has room for.
BLOCK = 64


def reach(wavelet: str, levels: int) -> int:
    """Samples on either side of its own 2^levels that a coefficient of the coarsest level reads."""
    return (2**levels - 1) * (filter_length(wavelet) // 2 - 1)


def levels_at_once(n: int, wavelet: str, levels: int) -> int:
    """How many levels to compose for n even samples: while n halves evenly and the halo stays within half a block."""
    s = 1
    while s < levels and n % 2 ** (s + 1) == 0 and 2 * reach(wavelet, s + 1) <= BLOCK and 2 ** (s + 1) <= BLOCK:
        s += 1
    return s


def _block(wavelet: str, levels: int) -> int:
    """Samples in a block: at least twice the halo, so that a halo comes from the next block alone."""
    return BLOCK if 2 * reach(wavelet, levels) <= BLOCK else 2 * BLOCK


def _halos(wavelet: str, levels: int) -> list[tuple[int, int]]:
    """(step in samples, halo in coefficients) of the bands that a sample is made of: approximation, coarse to fine."""
    depths = [levels, *range(levels, 0, -1)]
    return [(2**depth, -(-reach(wavelet, depth) // 2**depth)) for depth in depths]


def _band(wavelet: str, levels: int, band: int) -> Tensor:
    """The rows of one band in the matrix W of three blocks; its middle block has room for both halos."""
    n = 3 * _block(wavelet, levels)
    return torch.from_numpy(dwt_basis(n, wavelet, levels)).split(dwt_lengths(n, levels))[band]


def _analysis_matrix(wavelet: str, levels: int) -> Tensor:
    """(block + 2 halo, block): samples with halo to the coefficients of all bands."""
    block, halo = _block(wavelet, levels), reach(wavelet, levels)
    return torch.cat(
        [
            _band(wavelet, levels, band)[block // step : 2 * block // step, block - halo : 2 * block + halo]
            for band, (step, _) in enumerate(_halos(wavelet, levels))
        ]
    ).T


def _synthesis_matrix(wavelet: str, levels: int) -> Tensor:
    """(coefficients of all bands with their halos, block): the transpose, cut to the samples of one block."""
    block = _block(wavelet, levels)
    return torch.cat(
        [
            _band(wavelet, levels, band)[block // step - halo : 2 * block // step + halo, block : 2 * block]
            for band, (step, halo) in enumerate(_halos(wavelet, levels))
        ]
    )


def _windows(x: Tensor, step: int, halo: int) -> Tensor:
    """(..., n) to (..., ceil(n / step), step + 2 halo): blocks of a periodic signal and their surroundings."""
    n = length(x)
    count = -(-n // step)
    around = torch.cat([x[..., n - halo :], x, x[..., : (count + 1) * step - halo - n]], -1)
    blocks = around.unflatten(-1, (count + 1, step))
    return torch.cat([blocks[..., :-1, :], blocks[..., 1:, : 2 * halo]], -1)


def analyse(x: Tensor, wavelet: str, levels: int) -> list[Tensor]:
    """[approx, coarsest detail, ..., finest] of x (..., n), n a multiple of 2^levels and longer than two blocks."""
    block = _block(wavelet, levels)
    y = _windows(x, block, reach(wavelet, levels)) @ table(_analysis_matrix, wavelet, levels, like=x)
    bands = y.split([block // step for step, _ in _halos(wavelet, levels)], -1)
    return [band.flatten(-2)[..., :n] for band, n in zip(bands, dwt_lengths(length(x), levels))]


def synthesise(code: list[Tensor], wavelet: str) -> Tensor:
    """x (..., n) from [approx, coarsest detail, ..., finest]: `analyse` transposed."""
    levels = len(code) - 1
    block = _block(wavelet, levels)
    windows = [_windows(y, block // step, halo) for y, (step, halo) in zip(code, _halos(wavelet, levels))]
    x = torch.cat(windows, -1) @ table(_synthesis_matrix, wavelet, levels, like=code[0])
    return x.flatten(-2)[..., : length(code[0]) * 2**levels]
