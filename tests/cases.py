"""One row per kernel: how to draw (x, spec), what of the code is unique, how close is close, and what is refused."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from contract import WAVELETS, leaves

FLOATS = st.floats(-1e3, 1e3, allow_subnormal=False, width=32)


@st.composite
def signals(draw, **spec):
    """(x, spec): 1 to 3 axes of arbitrary floats, one axis drawn; zeros, constants and spikes included."""
    shape = draw(hnp.array_shapes(min_dims=1, max_dims=3, min_side=2, max_side=9))
    axis = draw(st.integers(-len(shape), len(shape) - 1))
    x = draw(hnp.arrays(np.float64, shape, elements=FLOATS))
    return x, {key: draw(values) for key, values in spec.items()} | {"axis": axis}


@st.composite
def wavelet_signals(draw):
    """(x, spec): as `signals`, with any wavelet and as many levels as the axis allows, up to 3."""
    x, spec = draw(signals(wavelet=st.sampled_from(WAVELETS)))
    return x, spec | {"levels": draw(st.integers(0, min(3, (x.shape[spec["axis"]] - 1).bit_length())))}


@st.composite
def tensors(draw, ndim, spec):
    """(x, spec): a generic tensor from a drawn seed, so that spectra have gaps and bases are unique."""
    shape = tuple(draw(st.lists(st.integers(2, 6), min_size=ndim[0], max_size=ndim[1])))
    x = np.random.default_rng(draw(st.integers(0, 2**32 - 1))).standard_normal(shape)
    return x, spec(draw, shape)


def magnitudes(code):
    """What a gauge of signs leaves alone."""
    return [abs(array) for array in leaves(code)]


class Case(NamedTuple):
    """How one kernel is tested."""

    draw: st.SearchStrategy  # of (x, spec)
    unique: Callable  # code -> the arrays that no gauge (sign, order, rotation) can change
    bad: dict[str, tuple]  # argument -> (x, spec) whose refusal names that argument
    tol: float = 1e-9  # float64, relative to 1 + max |x|


X1, X2 = np.ones(4), np.eye(3)

CASES = {
    "dct": Case(
        signals(type=st.sampled_from([1, 2, 3, 4])),
        leaves,
        {"type": (X1, {"type": 5}), "axis": (X1, {"axis": 1}), "x.shape[axis]": (X1[:1], {"type": 1})},
    ),
    "dst": Case(
        signals(type=st.sampled_from([1, 2, 3, 4])),
        leaves,
        {"type": (X1, {"type": 0}), "axis": (X1, {"axis": -2})},
    ),
    "dft": Case(signals(), leaves, {"axis": (X1, {"axis": 1})}),
    "dht": Case(signals(), leaves, {"axis": (X1, {"axis": 1})}),
    "dwt": Case(
        wavelet_signals(),
        leaves,
        {
            "wavelet": (X1, {"wavelet": "bior2.2"}),
            "levels": (X1, {"levels": 3}),
            "axis": (X1, {"axis": 1}),
        },
    ),
    "shannon": Case(signals(), leaves, {"axis": (X1, {"axis": 1})}),
    "svd": Case(
        tensors((2, 2), lambda draw, shape: {"rank": draw(st.integers(1, max(shape) + 1))}),
        magnitudes,
        {"rank": (X2, {"rank": 0}), "x.ndim": (X1, {"rank": 1})},
    ),
}
