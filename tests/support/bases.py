"""The bases of frequency layers, to test each of them."""

import pytest

from layers.frequency import BASES, COMPLEX
from layers.frequency.basis import Basis

kernels = pytest.mark.parametrize("kernel", BASES)
REAL = [kernel for kernel in BASES if kernel not in COMPLEX]


def matrix(kernel, rows, n):
    basis = Basis(kernel, rows, n)
    return basis(basis.start())
