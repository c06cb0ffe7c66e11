"""Check the arrays of stages 1 and 2 as the contract asks, and bring them to the precision and scale of computing."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from checks import COMPLEX as COMPLEX, FLOATS as FLOATS, check_code, check_input, require
from contract import leaves, refill


def check_array(x: Any, ndim: int | None = None, dtypes: Sequence[str] = FLOATS, values: bool = True) -> NDArray:
    """Return x as it is computed, `wide`; refuse what `checks.check_input` refuses, and masked values."""
    require(isinstance(x, np.ndarray) and not np.ma.is_masked(x), "x", type(x).__name__, "an array of known numbers")
    check_input(x, ndim, dtypes, values)
    return wide(x)


def check_arrays(code: Any) -> Any:
    """Return a code with arrays as they are computed, `wide`; refuse what `checks.check_code` refuses."""
    check_code(code)
    return refill(code, map(wide, leaves(code)))


def wide(x: NDArray) -> NDArray:
    """Return x as a plain array in the byte order of the machine, numbers of 16 bits as float32."""
    dtype = np.dtype(np.float32) if x.dtype.itemsize == 2 else x.dtype.newbyteorder("=")
    return np.asarray(x).astype(dtype, copy=False)


def narrow(code: Any, dtype: np.dtype) -> Any:
    """Return a code or an array in 16 bits where `dtype` has 16; complex and integer arrays stay as they are.

    Raises:
        ValueError: a number overflows there.
    """
    if dtype.itemsize != 2:
        return code

    def rounded(array: NDArray) -> NDArray:
        if array.dtype.kind != "f":
            return array
        with np.errstate(over="ignore"):
            result = array.astype(dtype)
        fits = bool((np.isfinite(result) | ~np.isfinite(array)).all())
        require(fits, "x", f"an array that gives {abs(array).max():.3g}", f"of results that {dtype.name} can hold")
        return result

    return refill(code, map(rounded, leaves(code)))


def scaled(x: NDArray) -> tuple[NDArray, int]:
    """Return (y, e) with x = 2^e y and max |y| in [1/2, 1): exact, and no square of y overflows, few vanish."""
    exponent = int(np.frexp(np.abs(x).max())[1])
    return np.ldexp(x, -exponent), exponent


def restored(y: NDArray, exponent: int) -> NDArray:
    """2^exponent y, which undoes `scaled`; ValueError where a number overflows, as single terms of a sum may."""
    with np.errstate(over="ignore"):
        x = np.ldexp(y, exponent)
    value = f"an array whose code has {float(abs(y).max()):.3g} x 2^{exponent}"
    require(bool(np.isfinite(x).all()), "x", value, "of a code without overflow")
    return x


def variance(sigma2: float, exponent: int) -> float:
    """4^exponent sigma2, which undoes `scaled` for a square; ValueError where that is no normal number of float64."""
    fits = -1022 < math.frexp(sigma2)[1] + 2 * exponent <= 1024
    require(fits, "x", f"numbers near 2^{exponent}", "of numbers whose squares float64 can hold")
    return math.ldexp(sigma2, 2 * exponent)
