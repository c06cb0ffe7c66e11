"""Truncated singular value decomposition: LAPACK's, called through SciPy and cut."""

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from checks import check_input, check_rank, check_svd
from contract import SVD


def svd(x: NDArray, rank: int) -> SVD[NDArray]:
    """The best approximation of x (m, n) of at most `rank` in the Frobenius norm (Eckart & Young 1936)."""
    check_input(x, ndim=2)
    check_rank(rank)
    u, s, vt = scipy.linalg.svd(x, full_matrices=False)
    return SVD(u[:, :rank], s[:rank], vt[:rank])


def unsvd(code: SVD[NDArray]) -> NDArray:
    """x_hat = u diag(s) vt, shape (m, n)."""
    check_svd(code)
    return code.u @ np.diag(code.s) @ code.vt
