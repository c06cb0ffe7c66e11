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
from collections.abc import Iterator, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

A = TypeVar("A")  # the stage's array type


class SVD(NamedTuple, Generic[A]):
    """x ~ (u * s) @ vt;  u (m, r) and vt (r, n) orthonormal, s (r,) descending."""

    u: A
    s: A
    vt: A


class Leaf(NamedTuple, Generic[A]):
    """One mode of a dimension tree: u (n, r), orthonormal columns."""

    u: A


class Node(NamedTuple, Generic[A]):
    """Two subtrees joined: basis_k = sum_ij b[i, j, k] left_i (x) right_j;  b (r_left, r_right, r), r = 1 at the root.

    Orthonormal columns everywhere but at the root, which alone carries the norm of the tensor.
    """

    b: A
    left: "Leaf[A] | Node[A]"
    right: "Leaf[A] | Node[A]"


class EVB(NamedTuple, Generic[A]):
    """What empirical variational Bayes says of a matrix: rank >= 1, noise variance, singular values of the mean.

    s (min(m, n),) is shrunk, descending and zero from the first component that is noise.
    """

    rank: Any  # an int, a tensor of int64 in stage 3
    sigma2: Any  # a float, a tensor in stage 3
    s: A


class Tucker(NamedTuple, Generic[A]):
    """x ~ core x_1 U_1 ... x_d U_d;  core as x but r_i long in mode i, factors[i] (n_i, r_i) orthonormal."""

    core: A
    factors: tuple[A, ...]


class CP(NamedTuple, Generic[A]):
    """x ~ sum_k weights[k] a_k o b_k o ...;  weights (r,) not negative, factors[i] (n_i, r) of unit columns."""

    weights: A
    factors: tuple[A, ...]


class Kernel(NamedTuple):
    """One row of the grid: the names of the pair, and which of the two promises 2 it keeps."""

    encode: str
    decode: str
    linear: bool  # a transform: encode is linear and orthonormal, so decode is its adjoint


KERNELS = {
    "dct": Kernel("dct", "idct", linear=True),
    "svd": Kernel("svd", "unsvd", linear=False),
    "ht": Kernel("ht", "unht", linear=False),
    "tucker": Kernel("tucker", "untucker", linear=False),
    "cp": Kernel("cp", "uncp", linear=False),
}

RIDGE = 1e-4  # the smallest ridge of a CP sweep: sqrt(eps) of float32, so that both precisions take the same steps


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


def check_svd(code: SVD[Any]) -> None:
    """Refuse factors that do not fit: a single singular value would be broadcast over every column."""
    shapes = [tuple(array.shape) for array in code]
    ok = len(shapes[1]) >= 1 and code.u.shape[-1:] == code.s.shape[-1:] == code.vt.shape[-2:-1]
    need(ok, "code", shapes, "SVD(u (m, r), s (r,), vt (r, n))")


def check_spectrum(s: Any, shape: tuple[int, int]) -> None:
    """Refuse a shape that is not a matrix's, or another number of singular values than it has."""
    need(len(shape) == 2 and min(shape) >= 1, "shape", shape, "two positive integers")
    need(s.ndim >= 1 and s.shape[-1] == min(shape), "s.shape", tuple(s.shape), f"(..., {min(shape)}) for a {shape}")


def check_modes(modes: Sequence[int] | None, ndim: int) -> tuple[int, ...]:
    """The modes counted from the front, all of them for None; refuse one that x lacks or that is named twice."""
    need(modes is None or isinstance(modes, Sequence), "modes", modes, "None or a sequence of integers")
    chosen = tuple(range(ndim)) if modes is None else tuple(modes)
    ok = all(isinstance(mode, int) and -ndim <= mode < ndim for mode in chosen)
    ok = ok and 0 < len(chosen) == len({mode % ndim for mode in chosen})
    need(ok, "modes", modes, f"one or more, distinct and in {-ndim} to {ndim - 1} for {ndim} modes")
    return tuple(mode % ndim for mode in chosen)


def check_ranks(ranks: Sequence[int], modes: Sequence[int], shape: Sequence[int]) -> tuple[int, ...]:
    """Refuse all but one rank of at least 1 per mode; cut each to what there is.

    That is the size of the mode and the product of all other sizes of the core.  At most one rank can exceed that
    product (two would need r_i r_j > prod(core)), and cutting it leaves the others allowed: one pass is enough.
    """
    ok = isinstance(ranks, Sequence) and len(ranks) == len(modes) and all(isinstance(r, int) and r >= 1 for r in ranks)
    need(ok, "ranks", ranks, f"{len(modes)} integers of at least 1, one per mode")
    core = list(shape)
    for mode, rank in zip(modes, ranks):
        core[mode] = min(rank, shape[mode])
    return tuple(min(core[mode], math.prod(core) // core[mode]) for mode in modes)


def check_factors(factors: Sequence[Any], ranks: Sequence[int], batch: Sequence[int] = ()) -> None:
    """Refuse factors that are not one (*batch, n, rank) for each of the ranks."""
    need(len(factors) == len(ranks), "code.factors", f"{len(factors)} of them", f"{len(ranks)} arrays")
    for i, (factor, rank) in enumerate(zip(factors, ranks)):
        shape = tuple(factor.shape)
        ok = shape[:-2] == tuple(batch) and len(shape) == len(batch) + 2 and shape[-1] == rank
        need(ok, f"code.factors[{i}].shape", shape, f"({', '.join(map(str, (*batch, 'n', rank)))})")


def check_count(count: int, name: str = "sweeps") -> None:
    """Refuse a negative number of iterations."""
    need(isinstance(count, int) and count >= 0, name, count, "an integer of at least 0")


def check_cp(rank: int, sweeps: int, ridge: float, bound: float | None, shape: Sequence[int]) -> int:
    """Refuse what CP cannot use; the rank, cut to prod(shape) / max(shape), which suffices for every tensor."""
    need(len(shape) >= 2, "x.ndim", len(shape), "at least 2, batch axes not counted")
    check_rank(rank)
    check_count(sweeps)
    need(0 <= ridge < math.inf, "ridge", ridge, "a finite number of at least 0")
    need(bound is None or 0 <= bound < 1, "bound", bound, "None or a relative error from 0 to below 1")
    return min(rank, math.prod(shape) // max(shape))
