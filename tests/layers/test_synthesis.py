"""The formulas of loader.py, which decode a weight in eval mode, are the inverse transforms of stage 3."""

import pytest
import torch

from layers.coded.spectrum import REAL, synthesise
from layers.coded.tables import tables
from layers.loader import synthesis

WAVELETS = [("haar", None), ("db4", 2), ("sym5", 3), ("coif17", None), ("db38", 1)]
CASES = [(name, None, None) for name in REAL if name != "dwt"] + [("dwt", *how) for how in WAVELETS]


@pytest.mark.parametrize(("name", "wavelet", "levels"), CASES)
def test_synthesis_is_that_of_stage_3(name, wavelet, levels):
    torch.manual_seed(0)
    for n in (1, 2, 3, 8, 9, 10, 13, 64, 85, 600, 1001):
        y = torch.randn(3, n, 2, dtype=torch.float64)
        got = synthesis(y, name, 1, tables(name, n, wavelet, levels), levels)
        assert (got - synthesise(y, name, 1, wavelet, levels)).abs().max() < 1e-12


@pytest.mark.parametrize(("name", "wavelet", "levels"), CASES)
def test_tables_do_not_grow_with_the_axis(name, wavelet, levels):
    sizes = {sum(t.numel() for t in tables(name, n, wavelet, levels)) for n in (512, 2048)}
    assert len(sizes) == 1
