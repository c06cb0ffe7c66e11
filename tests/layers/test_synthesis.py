"""The formulas that decode a weight in eval mode are the inverse transforms of stage 3."""

import pytest
import torch

from layers.checkpoint.recipe import record
from layers.coded.spectrum import REAL, synthesise
from layers.coded.synthesis import synthesis, tables

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


def test_a_recorded_function_keeps_few_values_at_a_time():
    x = torch.arange(4.0)
    steps = record(lambda x: ((x * 2).cos() + (x * 3).sin()).argsort(), [x])
    assert [name for _, name, _ in steps] == ["mul", "cos", "mul", "sin", "add", "argsort"]
    assert {place for place, *_ in steps} == {"0", "1"}  # the second product takes the place of x
    assert steps[0] == ["1", "mul", {"self": "0", "other": 2}]
