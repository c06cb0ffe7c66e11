"""Truncated singular value decomposition from the symmetric eigenvalue problem of Jordan and Wielandt."""

import numpy as np
from numpy.typing import NDArray

from checks import check_input, check_rank, check_svd
from contract import SVD


def _orthonormal(a: NDArray) -> NDArray:
    """The columns of a, orthonormalised from left to right without turning those that already are."""
    q, r = np.linalg.qr(a)
    return q * np.where(np.diag(r) < 0, -1, 1).astype(a.dtype)


def svd(x: NDArray, rank: int) -> SVD[NDArray]:
    """x (m, n) ~ (u * s) @ vt of at most `rank`.

    x = Q R, and [[0, R], [R^T, 0]] [u; v] = s [u; v] with |u| = |v| (Golub & Van Loan 2013, section 8.6.1).  Unlike
    the eigenvectors of x^T x this does not square the condition number.
    """
    check_input(x, ndim=2)
    check_rank(rank)
    if x.shape[0] < x.shape[1]:
        u, s, vt = svd(x.T, rank)
        return SVD(vt.T, s, u.T)
    q, r = np.linalg.qr(x)
    n, zero = len(r), np.zeros_like(r)
    s, w = np.linalg.eigh(np.block([[zero, r], [r.T, zero]]))
    s, w = s[: n - 1 : -1][:rank], w[:, : n - 1 : -1][:, :rank]  # eigenvalues come in pairs +-s: keep the larger half
    return SVD(q @ _orthonormal(w[:n]), np.maximum(s, 0), _orthonormal(w[n:]).T)


def unsvd(code: SVD[NDArray]) -> NDArray:
    """x_hat = (u * s) @ vt, shape (m, n)."""
    check_svd(code)
    return (code.u * code.s) @ code.vt
