"""Truncated singular value decomposition from the symmetric eigenvalue problem of Jordan and Wielandt."""

import numpy as np
from numpy.typing import NDArray

from arrays import check_array, check_arrays, narrow, restored, scaled
from checks import check_rank, check_svd
from contract import SVD


def _orthonormal(a: NDArray) -> NDArray:
    """Return the columns of a, orthonormalised from left to right without turning those that already are."""
    q, r = np.linalg.qr(a)
    return q * np.where(np.diag(r) < 0, -1, 1).astype(a.dtype)


def svd(x: NDArray, rank: int) -> SVD[NDArray]:
    """x ~ (u * s) @ vt, the best approximation of at most `rank` in the Frobenius norm.

    x = Q R, and [[0, R], [R^T, 0]] [u; v] = s [u; v] with |u| = |v| (Golub & Van Loan 2013, section 8.6.1).  Unlike
    the eigenvectors of x^T x this does not square the condition number.

    Args:
        x: a matrix of floats (m, n).
        rank: how many singular values to keep; more than there are means all.

    Returns:
        SVD(u (m, r), s (r,), vt (r, n)) in the dtype of x.

    Raises:
        ValueError: x is no finite matrix of floats, or rank is below 1.

    Example:
        >>> svd(np.diag([3.0, 2.0, 1.0]), 2).s
        array([3., 2.])
    """
    y, exponent = scaled(check_array(x, ndim=2))
    check_rank(rank)
    u, s, vt = _svd(y, rank)
    return narrow(SVD(u, restored(s, exponent), vt), x.dtype)


def _svd(x: NDArray, rank: int) -> SVD[NDArray]:
    """Decompose a matrix of numbers neither large nor small."""
    if x.shape[0] < x.shape[1]:
        u, s, vt = _svd(x.T, rank)
        return SVD(vt.T, s, u.T)
    q, r = np.linalg.qr(x)
    n, zero = len(r), np.zeros_like(r)
    s, w = np.linalg.eigh(np.block([[zero, r], [r.T, zero]]))
    s, w = s[: n - 1 : -1][:rank], w[:, : n - 1 : -1][:, :rank]  # eigenvalues come in pairs +-s: keep the larger half
    return SVD(q @ _orthonormal(w[:n]), np.maximum(s, 0), _orthonormal(w[n:]).T)


def unsvd(code: SVD[NDArray]) -> NDArray:
    """x_hat = (u * s) @ vt.

    Args:
        code: what `svd` returned.

    Returns:
        The approximation (m, n).

    Raises:
        ValueError: the three arrays do not fit, or are not of floats.

    Example:
        >>> unsvd(svd(np.diag([3.0, 2.0, 1.0]), 2)).diagonal()
        array([3., 2., 0.])
    """
    check_svd(code)
    u, s, vt = check_arrays(code)
    return narrow((u * s) @ vt, code.u.dtype)
