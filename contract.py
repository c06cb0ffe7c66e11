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


class Kernel(NamedTuple):
    """One row of the grid: the names of the pair, and which of the two promises 2 it keeps."""

    encode: str
    decode: str
    linear: bool  # a transform: encode is linear and orthonormal, so decode is its adjoint


KERNELS = {
    "dct": Kernel("dct", "idct", linear=True),
    "svd": Kernel("svd", "unsvd", linear=False),
    "ht": Kernel("ht", "unht", linear=False),
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


def check_svd(code: SVD[Any]) -> None:
    """Refuse factors that do not fit: a single singular value would be broadcast over every column."""
    shapes = [tuple(array.shape) for array in code]
    ok = len(shapes[1]) >= 1 and code.u.shape[-1:] == code.s.shape[-1:] == code.vt.shape[-2:-1]
    need(ok, "code", shapes, "SVD(u (m, r), s (r,), vt (r, n))")


def check_spectrum(s: Any, shape: tuple[int, int]) -> None:
    """Refuse a shape that is not a matrix's, or another number of singular values than it has."""
    need(len(shape) == 2 and min(shape) >= 1, "shape", shape, "two positive integers")
    need(s.ndim >= 1 and s.shape[-1] == min(shape), "s.shape", tuple(s.shape), f"(..., {min(shape)}) for a {shape}")
