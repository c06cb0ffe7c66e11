"""The orthonormal scaling filters: Daubechies wavelets and symlets by spectral factorisation, coiflets from a table."""

from functools import lru_cache
from importlib.resources import files
from math import comb

import numpy as np
from numpy.typing import NDArray

# The least asymmetric filter and its mirror image are equally good; PyWavelets has the late one (centre of energy
# beyond the middle) at these orders and the early one at the others.
LATE_SYMLETS = (4, 5, 6, 8, 9, 10, 13, 18)


def half_band_roots(p: int) -> NDArray:
    """The p - 1 roots y of P(y) = sum_k C(p-1+k, k) y^k (Daubechies 1992, eq. 6.1.12).

    They lie around |4y(1-y)| = 1, so the companion matrix is that of P in 4y.  Single roots are off by up to 3e-11 at
    p = 38, but together they are the roots of a polynomial within rounding of P, and only their products are used:
    every filter up to db38 is right to 1e-14.  In y itself the coefficients grow to 1e21 and db38 is right to 1e-7.
    """
    return np.roots([comb(p - 1 + k, k) / 4.0**k for k in range(p - 1, -1, -1)]).astype(complex) / 4


def inner_roots(p: int) -> NDArray:
    """The roots |z| < 1 of P as a polynomial in z, y = (2 - z - 1/z) / 4, of the upper half plane and the real axis.

    y = sin^2(w/2) gives z = exp(iw) = (sqrt(1-y) + i sqrt(y))^2; the larger of z and 1/z is free of cancellation.
    """
    y = half_band_roots(p)
    y = y[y.imag >= -1e-9]  # complex y come in conjugate pairs, at least 1e-3 off the real axis for p <= 38
    one, other = ((np.sqrt(1 - y) + sign * np.sqrt(-y)) ** 2 for sign in (1, -1))
    return 1 / np.where(abs(one) > abs(other), one, other)


def _factors(z: NDArray, u: NDArray) -> NDArray:
    """Each root's real factor at u: (1 - z u)(1 - z* u) / |1 - z|^2, or (1 - z u) / (1 - z) for a real z."""
    z = z[:, None]
    f = (1 - z * u) / (1 - z)
    return np.where(abs(z.imag) < 1e-9, f, f * (1 - z.conj() * u) / (1 - z.conj()))


def _from_roots(p: int, z: NDArray) -> NDArray:
    """h (2p), H(u) = sqrt(2) ((1 + u) / 2)^p prod_j factor_j(u), from its values at the 2p-th roots of unity.

    Multiplying polynomials out would cancel up to 2^p; values multiply without loss, and the inverse DFT adds none.
    """
    u = np.exp(-1j * np.pi * np.arange(2 * p) / p)
    values = ((1 + u) / 2) ** p * _factors(z, u).prod(0)
    return np.sqrt(2) * np.real(np.fft.ifft(values))


def daubechies(p: int) -> NDArray:
    """The 2p coefficients of dbp, p vanishing moments and extremal phase: every root inside (Daubechies 1992, 6.4)."""
    return _from_roots(p, inner_roots(p))


def symlet(p: int) -> NDArray:
    """The 2p coefficients of symp: of the same factorisation the roots whose phase is nearest to a straight line.

    Least squares over a grid of (0, pi], against the line through both ends, over every choice of z or 1/z per root
    (Daubechies 1992, section 8.1.1).  One choice is fixed, as inverting all of them only reverses the filter.
    """
    z = inner_roots(p)
    z = z[np.argsort(z.imag)]
    w = np.pi * np.arange(1, 257) / 256
    phases = np.stack([np.unwrap(np.angle(_factors(r, np.exp(-1j * w)))) for r in (z, 1 / z.conj())])
    choice = np.arange(2 ** (len(z) - 1))[:, None] >> np.arange(len(z)) & 1
    phase = phases[choice, np.arange(len(z))].sum(1)
    bend = ((phase - phase[:, -1:] * w / np.pi) ** 2).sum(1)
    h = _from_roots(p, np.where(choice[bend.argmin()], 1 / z.conj(), z))
    late = np.arange(2 * p) @ h**2 > p - 0.5
    return h if late == (p in LATE_SYMLETS) else h[::-1]


def _family(wavelet: str) -> tuple[str, int]:
    name = {"haar": "db1"}.get(wavelet, wavelet)
    family = name.rstrip("0123456789")
    return family, int(name[len(family) :])


def filter_length(wavelet: str) -> int:
    """L, without making the filter."""
    family, order = _family(wavelet)
    return (6 if family == "coif" else 2) * order


@lru_cache(maxsize=1)
def coiflets() -> dict[int, tuple[float, ...]]:
    """Read coiflets.csv: K -> the 6K coefficients of coifK, the one table that is published and not derived.

    They solve a quadratic system (orthonormality, 2K vanishing moments of the wavelet and 2K - 1 of the scaling
    function; Daubechies 1993) whose Jacobian has condition 1e7 at K = 4 and 1e14 at K = 7, and which has several
    solutions: Newton's iteration in double precision keeps 9 digits of coif4, 3 of coif7 and none beyond.
    """
    lines = files("stage2_numpy").joinpath("coiflets.csv").read_text(encoding="utf-8").splitlines()
    rows = [line.split(",") for line in lines if not line.startswith("#")]
    return {int(order): tuple(map(float, coefficients)) for order, *coefficients in rows}


@lru_cache(maxsize=128)
def _scaling_filter(wavelet: str) -> tuple[float, ...]:
    family, order = _family(wavelet)
    if family == "coif":
        return coiflets()[order]
    return tuple((symlet(order) if family == "sym" else daubechies(order)).tolist())


def scaling_filter(wavelet: str) -> NDArray:
    """h (length L), sum h = sqrt(2), sum_i h_i h_{i+2k} = delta_k: the reconstruction low-pass filter of a wavelet."""
    return np.array(_scaling_filter(wavelet))
