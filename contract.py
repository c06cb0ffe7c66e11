"""What every kernel promises, on one page; any stage may import it, it imports nothing of ours.

A kernel is a pair of plain functions, under the same two names in each stage:

    encode(x, **spec) -> code        x is an array: NumPy in stages 1 and 2, a tensor in stage 3
    decode(code, **spec) -> x_hat    spec holds ints, floats, strings and tuples only, so a plan is JSON

The promises (tests/kernels/test_contract.py has one property-based test each):

0. every name exists in every stage, and every table has the same rows;
1. each stage agrees with stage 1: on the reconstruction, and on what of the code no gauge can change;
2. transforms invert and keep energy; decompositions project: |x|^2 = |x_hat|^2 + |x - x_hat|^2;
3. stage 3 passes gradcheck: decode in its code always, decode(encode(x)) in x where the spectrum has a gap;
4. float32 in, float32 out; batch axes in stage 3 equal a loop; CUDA equals CPU;
5. bad input raises ValueError, naming the argument, its value and what is allowed.
"""

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
    "dst": Kernel("dst", "idst", linear=True),
    "dft": Kernel("dft", "idft", linear=True),
    "dht": Kernel("dht", "idht", linear=True),
    "dwt": Kernel("dwt", "idwt", linear=True),
    "shannon": Kernel("shannon", "ishannon", linear=True),
    "svd": Kernel("svd", "unsvd", linear=False),
    "ht": Kernel("ht", "unht", linear=False),
    "tucker": Kernel("tucker", "untucker", linear=False),
    "cp": Kernel("cp", "uncp", linear=False),
}

WAVELETS = (
    "haar",
    *(f"db{order}" for order in range(1, 39)),
    *(f"sym{order}" for order in range(2, 21)),
    *(f"coif{order}" for order in range(1, 18)),
)

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
