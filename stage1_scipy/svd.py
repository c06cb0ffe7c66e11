"""Truncated singular value decomposition: LAPACK's, called through SciPy and cut."""

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from arrays import check_array, check_arrays, narrow
from checks import check_rank, check_svd
from contract import SVD


def svd(x: NDArray, rank: int) -> SVD[NDArray]:
    """x ~ u diag(s) vt, the best approximation of at most `rank` in the Frobenius norm (Eckart & Young 1936).

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
    y = check_array(x, ndim=2)
    check_rank(rank)
    u, s, vt = scipy.linalg.svd(y, full_matrices=False)
    return narrow(SVD(u[:, :rank], s[:rank], vt[:rank]), x.dtype)


def unsvd(code: SVD[NDArray]) -> NDArray:
    """x_hat = u diag(s) vt.

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
    return narrow(u @ np.diag(s) @ vt, code.u.dtype)
