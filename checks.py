"""Promise 5 of the contract: what no kernel can use is refused in one sentence, the same in every stage."""

import math
from collections.abc import Sequence
from typing import Any

from contract import SVD, WAVELETS, leaves


def require(ok: bool, argument: str, value: object, allowed: str) -> None:
    """Raise ValueError("ARGUMENT must be ALLOWED, got VALUE") unless `ok`: promise 5, the same in every stage."""
    if not ok:
        raise ValueError(f"{argument} must be {allowed}, got {value!r}")


FLOATS = ("float16", "bfloat16", "float32", "float64")  # the first two are computed in float32
COMPLEX = ("complex64", "complex128")
DOUBLE = ("float64", "complex128")


def dtype_name(x: Any) -> str:
    """Return the name that NumPy and torch share, whatever the byte order: float32 for '>f4' and for torch.float32."""
    return str(getattr(x.dtype, "name", x.dtype)).removeprefix("torch.")


def check_input(
    x: Any, ndim: int | None = None, dtypes: Sequence[str] = FLOATS, values: bool = True, name: str = "x"
) -> None:
    """Refuse what no kernel can encode: not an array, wrong ndim or dtype, an empty axis, NaN, infinity or near it.

    Works on NumPy arrays and tensors alike.  `values=False` leaves the numbers unread, where reading one would stall
    a device or break a compiled graph.  Numbers are too near infinity where a sum over all of them could overflow.
    """
    require(hasattr(x, "ndim") and hasattr(x, "dtype"), name, type(x).__name__, "an array")
    require(dtype_name(x) in dtypes, f"{name}.dtype", dtype_name(x), f"{', '.join(dtypes[:-1])} or {dtypes[-1]}")
    dims_fit = x.ndim >= 1 if ndim is None else x.ndim == ndim
    require(dims_fit, f"{name}.ndim", x.ndim, "at least 1" if ndim is None else f"{ndim}")
    require(0 not in x.shape, f"{name}.shape", tuple(x.shape), "without an empty axis")
    if values:
        largest = float(abs(x).max())
        value = f"an array with max |{name}| = {largest:.3g}"
        require(math.isfinite(largest), name, value, "finite everywhere")
        limit = 2.0 ** (1022 if dtype_name(x) in DOUBLE else 126) / math.prod(x.shape)
        require(largest <= limit, name, value, f"at most {limit:.3g} in magnitude, for sums of this size to be finite")


def check_code(code: Any) -> None:
    """Refuse a code whose arrays are no arrays of floats, or empty."""
    for array in leaves(code):
        check_input(array, values=False, name="code")


def check_axis(axis: int, ndim: int) -> None:
    """Refuse an axis that x does not have."""
    require(-ndim <= axis < ndim, "axis", axis, f"in {-ndim} to {ndim - 1} for {ndim} axes")


def check_rank(rank: int, name: str = "rank") -> None:
    """Refuse a rank below 1.  There is no upper limit: more than the array has means all it has."""
    require(isinstance(rank, int) and rank >= 1, name, rank, "an integer of at least 1")


def check_svd(code: SVD[Any]) -> None:
    """Refuse factors that do not fit: a single singular value would be broadcast over every column."""
    shapes = [tuple(array.shape) for array in code]
    ok = len(shapes[1]) >= 1 and code.u.shape[-1:] == code.s.shape[-1:] == code.vt.shape[-2:-1]
    require(ok, "code", shapes, "SVD(u (m, r), s (r,), vt (r, n))")


def check_spectrum(s: Any, shape: tuple[int, int]) -> None:
    """Refuse a shape that is not a matrix's, or another number of singular values than it has."""
    require(len(shape) == 2 and min(shape) >= 1, "shape", shape, "two positive integers")
    require(s.ndim >= 1 and s.shape[-1] == min(shape), "s.shape", tuple(s.shape), f"(..., {min(shape)}) for a {shape}")


def check_modes(modes: Sequence[int] | None, ndim: int) -> tuple[int, ...]:
    """The modes counted from the front, all of them for None; refuse one that x lacks or that is named twice."""
    require(modes is None or isinstance(modes, Sequence), "modes", modes, "None or a sequence of integers")
    chosen = tuple(range(ndim)) if modes is None else tuple(modes)
    ok = all(isinstance(mode, int) and -ndim <= mode < ndim for mode in chosen)
    ok = ok and 0 < len(chosen) == len({mode % ndim for mode in chosen})
    require(ok, "modes", modes, f"one or more, distinct and in {-ndim} to {ndim - 1} for {ndim} modes")
    return tuple(mode % ndim for mode in chosen)


def check_ranks(ranks: Sequence[int], modes: Sequence[int], shape: Sequence[int]) -> tuple[int, ...]:
    """Refuse all but one rank of at least 1 per mode; cut each to what there is.

    That is the size of the mode and the product of all other sizes of the core.  At most one rank can exceed that
    product (two would need r_i r_j > prod(core)), and cutting it leaves the others allowed: one pass is enough.
    """
    ok = isinstance(ranks, Sequence) and len(ranks) == len(modes) and all(isinstance(r, int) and r >= 1 for r in ranks)
    require(ok, "ranks", ranks, f"{len(modes)} integers of at least 1, one per mode")
    core = list(shape)
    for mode, rank in zip(modes, ranks):
        core[mode] = min(rank, shape[mode])
    return tuple(min(core[mode], math.prod(core) // core[mode]) for mode in modes)


def check_factors(factors: Sequence[Any], ranks: Sequence[int], batch: Sequence[int] = ()) -> None:
    """Refuse factors that are not one (*batch, n, rank) for each of the ranks."""
    require(len(factors) == len(ranks), "code.factors", f"{len(factors)} of them", f"{len(ranks)} arrays")
    for i, (factor, rank) in enumerate(zip(factors, ranks)):
        shape = tuple(factor.shape)
        ok = shape[:-2] == tuple(batch) and len(shape) == len(batch) + 2 and shape[-1] == rank
        require(ok, f"code.factors[{i}].shape", shape, f"({', '.join(map(str, (*batch, 'n', rank)))})")


def check_count(count: int, name: str = "sweeps") -> None:
    """Refuse a negative number of iterations."""
    require(isinstance(count, int) and count >= 0, name, count, "an integer of at least 0")


def check_cp(rank: int, sweeps: int, ridge: float, bound: float | None, shape: Sequence[int]) -> int:
    """Refuse what CP cannot use; the rank, cut to prod(shape) / max(shape), which suffices for every tensor."""
    require(len(shape) >= 2, "x.ndim", len(shape), "at least 2, batch axes not counted")
    check_rank(rank)
    check_count(sweeps)
    require(0 <= ridge < math.inf, "ridge", ridge, "a finite number of at least 0")
    require(bound is None or 0 <= bound < 1, "bound", bound, "None or a relative error from 0 to below 1")
    return min(rank, math.prod(shape) // max(shape))


def check_type(type: int, n: int, wave: str = "cos") -> None:
    """Refuse a trigonometric transform that is not of type I to IV; the DCT-I alone needs two samples."""
    require(type in (1, 2, 3, 4), "type", type, "1, 2, 3 or 4")
    require(n >= 2 or type != 1 or wave != "cos", "x.shape[axis]", n, "at least 2 for the DCT of type 1")


def check_wavelet(wavelet: str) -> None:
    """Refuse a wavelet that is not one of the orthogonal ones of compact support that PyWavelets has."""
    require(wavelet in WAVELETS, "wavelet", wavelet, "haar, db1 to db38, sym2 to sym20 or coif1 to coif17")


def check_levels(levels: int, n: int) -> None:
    """Refuse more levels than n samples have: each takes n to ceil(n / 2), and one sample has none left."""
    most = (n - 1).bit_length()
    require(isinstance(levels, int) and 0 <= levels <= most, "levels", levels, f"0 to {most} for {n} samples")


def check_wavelet_code(code: tuple[Any, ...], levels: int | None, axis: int) -> None:
    """Refuse what no `dwt` returned: (approx, coarsest detail, ..., finest), each detail as long or one shorter."""
    require(isinstance(code, tuple) and len(code) >= 1, "code", type(code).__name__, "a tuple (approx, *details)")
    require(levels in (None, len(code) - 1), "levels", levels, f"{len(code) - 1}, the number of details in the code")
    check_code(code)
    for part in code:
        check_axis(axis, part.ndim)
    n = code[0].shape[axis]
    for detail in code[1:]:
        require(detail.shape[axis] in (n, n - 1), "code", detail.shape[axis], f"details of {n} or {n - 1} samples here")
        n += detail.shape[axis]
