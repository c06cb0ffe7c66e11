"""What every kernel promises, on one page; any stage may import it, it imports nothing of ours.

A kernel is a pair of plain functions, under the same two names in each stage:

    encode(x, **spec) -> code             x is an array: NumPy in stages 1 and 2, a tensor in stage 3
    decode(code, **decoding) -> x_hat     decoding = KERNELS[name].decoding(spec), the part that a decoder needs

spec holds ints, floats, strings and tuples only, so a plan is JSON.

The promises (tests/kernels/test_contract.py has one property-based test each):

0. every name exists in every stage, and every table has the same rows;
1. each stage agrees with stage 1: on the reconstruction, and on what of the code no gauge can change;
2. transforms invert and keep energy; decompositions project: |x|^2 = |x_hat|^2 + |x - x_hat|^2;
3. stage 3 passes gradcheck: decode in its code always, decode(encode(x)) in x where the spectrum has a gap;
4. float32 in, float32 out; batch axes in stage 3 equal a loop; CUDA equals CPU;
5. bad input raises ValueError, naming the argument, its value and what is allowed.
"""

from collections.abc import Iterator, Mapping
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
    """One row of the grid: the names of the pair, which of the two promises 2 it keeps, and what its decoder needs."""

    encode: str
    decode: str
    linear: bool  # a transform: encode is linear and orthonormal, so decode is its adjoint
    decodes: tuple[str, ...] = ()  # the keys of a spec that decode takes; the code says the rest

    def decoding(self, spec: Mapping[str, Any]) -> dict[str, Any]:
        """Return the part of the encoder's `spec` that the decoder takes.

        >>> KERNELS["dwt"].decoding({"wavelet": "db2", "levels": 2})
        {'wavelet': 'db2', 'levels': 2}
        >>> KERNELS["svd"].decoding({"rank": 3})
        {}
        """
        return {key: spec[key] for key in self.decodes if key in spec}


KERNELS = {
    "dct": Kernel("dct", "idct", linear=True, decodes=("type", "axis")),
    "dst": Kernel("dst", "idst", linear=True, decodes=("type", "axis")),
    "dft": Kernel("dft", "idft", linear=True, decodes=("axis",)),
    "dht": Kernel("dht", "idht", linear=True, decodes=("axis",)),
    "dwt": Kernel("dwt", "idwt", linear=True, decodes=("wavelet", "levels", "axis")),
    "shannon": Kernel("shannon", "ishannon", linear=True, decodes=("axis",)),
    "svd": Kernel("svd", "unsvd", linear=False),
    "ht": Kernel("ht", "unht", linear=False, decodes=("tree",)),
    "tucker": Kernel("tucker", "untucker", linear=False, decodes=("modes",)),
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
