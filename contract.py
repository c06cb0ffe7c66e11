"""What every kernel promises, on one page; any stage may import it, it imports nothing of ours.

A kernel is a pair of plain functions, under the same two names in each stage:

    encode(x, **spec) -> code        x is an array: NumPy in stages 1 and 2, a tensor in stage 3
    decode(code, **spec) -> x_hat    spec holds ints, floats, strings and tuples only, so a plan is JSON

The promises (tests/test_contract.py has one property-based test each):

0. every name exists in every stage, and every table has the same rows;
1. each stage agrees with stage 1: on the reconstruction, and on what of the code no gauge can change;
2. transforms invert and keep energy; decompositions project: |x|^2 = |x_hat|^2 + |x - x_hat|^2;
3. stage 3 passes gradcheck: decode in its code always, decode(encode(x)) in x where the spectrum has a gap;
4. float32 in, float32 out; batch axes in stage 3 equal a loop; CUDA equals CPU;
5. bad input raises ValueError, naming the argument, its value and what is allowed.
"""

import math
from collections.abc import Iterator
from typing import Any, Generic, NamedTuple, TypeVar

A = TypeVar("A")  # the stage's array type


class SVD(NamedTuple, Generic[A]):
    """x ~ (u * s) @ vt;  u (m, r) and vt (r, n) orthonormal, s (r,) descending."""

    u: A
    s: A
    vt: A


class Kernel(NamedTuple):
    """One row of the grid: the names of the pair, and which of the two promises 2 it keeps."""

    encode: str
    decode: str
    linear: bool  # a transform: encode is linear and orthonormal, so decode is its adjoint


KERNELS = {
    "dct": Kernel("dct", "idct", linear=True),
    "dst": Kernel("dst", "idst", linear=True),
    "dft": Kernel("dft", "idft", linear=True),
    "dht": Kernel("dht", "idht", linear=True),
    "dwt": Kernel("dwt", "idwt", linear=True),
    "shannon": Kernel("shannon", "ishannon", linear=True),
    "svd": Kernel("svd", "unsvd", linear=False),
}


def leaves(code: Any) -> list[Any]:
    """The arrays inside a code, in order."""
    return [array for part in code for array in leaves(part)] if isinstance(code, tuple) else [code]


def refill(code: Any, arrays: Iterator[Any]) -> Any:
    """A code of the same structure around other arrays: refill(code, iter(leaves(code))) is code."""
    if not isinstance(code, tuple):
        return next(arrays)
    parts = [refill(part, arrays) for part in code]
    return type(code)(*parts) if hasattr(code, "_fields") else tuple(parts)


def need(ok: bool, argument: str, value: object, allowed: str) -> None:
    """Promise 5 in one sentence, the same in every stage."""
    if not ok:
        raise ValueError(f"{argument} must be {allowed}, got {value!r}")


def check_input(x: Any, ndim: int | None = None, dtype: str = "float", values: bool = True) -> None:
    """Refuse what no kernel can encode: not an array, wrong ndim or dtype, an empty axis, NaN or infinity.

    Works on NumPy arrays and tensors alike.  `values=False` leaves the numbers unread, where reading one would stall
    a device or break a compiled graph.
    """
    need(hasattr(x, "ndim") and hasattr(x, "dtype"), "x", type(x).__name__, "an array")
    need(any(word in str(x.dtype) for word in dtype.split("|")), "x.dtype", str(x.dtype), f"{dtype} of any width")
    need(x.ndim >= 1 if ndim is None else x.ndim == ndim, "x.ndim", x.ndim, "at least 1" if ndim is None else f"{ndim}")
    need(0 not in x.shape, "x.shape", tuple(x.shape), "without an empty axis")
    if values:
        largest = float(abs(x).max())
        need(math.isfinite(largest), "x", f"an array with max |x| = {largest}", "finite everywhere")


def check_axis(axis: int, ndim: int) -> None:
    """Refuse an axis that x does not have."""
    need(-ndim <= axis < ndim, "axis", axis, f"in {-ndim} to {ndim - 1} for {ndim} axes")


def check_rank(rank: int, name: str = "rank") -> None:
    """Refuse a rank below 1.  There is no upper limit: more than the array has means all it has."""
    need(isinstance(rank, int) and rank >= 1, name, rank, "an integer of at least 1")


def check_type(type: int, n: int, wave: str = "cos") -> None:
    """Refuse a trigonometric transform that is not of type I to IV; the DCT-I alone needs two samples."""
    need(type in (1, 2, 3, 4), "type", type, "1, 2, 3 or 4")
    need(n >= 2 or type != 1 or wave != "cos", "x.shape[axis]", n, "at least 2 for the DCT of type 1")


WAVELETS = (
    "haar",
    *(f"db{order}" for order in range(1, 39)),
    *(f"sym{order}" for order in range(2, 21)),
    *(f"coif{order}" for order in range(1, 18)),
)


def check_wavelet(wavelet: str) -> None:
    """Refuse a wavelet that is not one of the orthogonal ones of compact support that PyWavelets has."""
    need(wavelet in WAVELETS, "wavelet", wavelet, "haar, db1 to db38, sym2 to sym20 or coif1 to coif17")


def check_levels(levels: int, n: int) -> None:
    """Refuse more levels than n samples have: each takes n to ceil(n / 2), and one sample has none left."""
    most = (n - 1).bit_length()
    need(isinstance(levels, int) and 0 <= levels <= most, "levels", levels, f"0 to {most} for {n} samples")


def check_wavelet_code(code: tuple[Any, ...], levels: int | None, axis: int) -> None:
    """Refuse what no `dwt` returned: (approx, coarsest detail, ..., finest), each detail as long or one shorter."""
    need(isinstance(code, tuple) and len(code) >= 1, "code", type(code).__name__, "a tuple (approx, *details)")
    need(levels in (None, len(code) - 1), "levels", levels, f"{len(code) - 1}, the number of details in the code")
    for part in code:
        check_input(part, values=False)
        check_axis(axis, part.ndim)
    n = code[0].shape[axis]
    for detail in code[1:]:
        need(detail.shape[axis] in (n, n - 1), "code", detail.shape[axis], f"details of {n} or {n - 1} samples here")
        n += detail.shape[axis]
