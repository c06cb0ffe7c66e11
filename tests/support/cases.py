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


@st.composite
def trees(draw, modes):
    """Any binary dimension tree of these modes."""
    if len(modes) == 1:
        return modes[0]
    cut = draw(st.integers(1, len(modes) - 1))
    return draw(trees(modes[:cut])), draw(trees(modes[cut:]))


def hierarchical(draw, shape):
    """A spec for ht: modes in any order, and ranks for all nodes, for each of them, or from a tolerance."""
    ndim = len(shape)
    tree = draw(st.none() | st.permutations(range(ndim)).flatmap(trees))
    each = st.lists(st.integers(1, 6), min_size=2 * ndim - 2, max_size=2 * ndim - 2).map(tuple)
    limits = [{"rank": st.integers(1, 7)}, {"rank": each}, {"tol": st.floats(0.05, 0.9)}]
    limit = draw(st.sampled_from(limits))
    return {key: draw(values) for key, values in limit.items()} | ({} if tree is None else {"tree": tree})


def magnitudes(code):
    """What a gauge of signs leaves alone."""
    return [abs(array) for array in leaves(code)]


def tucker_spec(draw, shape):
    """Any modes in any order, counted from either end, ranks up to beyond the size, few sweeps."""
    modes = draw(st.permutations(range(len(shape))))[: draw(st.integers(1, len(shape)))]
    ranks = tuple(draw(st.integers(1, shape[mode] + 1)) for mode in modes)
    modes = tuple(mode - draw(st.sampled_from([0, len(shape)])) for mode in modes)
    return {"ranks": ranks, "modes": modes, "sweeps": draw(st.integers(0, 2))}


def cp_spec(draw, shape):
    """Ranks from 1 to beyond every mode, few sweeps, with and without a ridge."""
    rank, sweeps = draw(st.integers(1, max(shape) + 3)), draw(st.integers(0, 3))
    return {"rank": rank, "sweeps": sweeps, "ridge": draw(st.sampled_from([0.0, 0.1]))}


class Case(NamedTuple):
    """How one kernel is tested."""

    draw: st.SearchStrategy  # of (x, spec)
    unique: Callable  # code -> the arrays that no gauge (sign, order, rotation) can change
    bad: dict[str, tuple]  # argument -> (x, spec) whose refusal names that argument
    tol: float = 1e-9  # float64, relative to 1 + max |x|
    batch: dict | None = None  # what stage 3 must be told to take the first axis for a batch


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
    "ht": Case(
        tensors((1, 4), hierarchical),
        magnitudes,
        {
            "rank": (X2, {"rank": 0}),
            "tree": (X2, {"rank": 1, "tree": (0, 0)}),
            "tol": (X2, {"tol": 1.0}),
        },
        batch={"batch": 1},
    ),
    "tucker": Case(
        tensors((1, 4), tucker_spec),
        magnitudes,
        {
            "ranks": (X2, {"ranks": (2, 0)}),
            "modes": (X2, {"ranks": (2, 2), "modes": (0, -2)}),
            "sweeps": (X2, {"ranks": (2, 2), "sweeps": -1}),
        },
        tol=1e-7,  # a spectral gap of 1e-8, which 200 draws hardly miss, turns a basis by eps / gap
        batch={"batch": 1},
    ),
    "cp": Case(
        tensors((2, 4), cp_spec),
        magnitudes,
        {
            "rank": (X2, {"rank": 0}),
            "sweeps": (X2, {"rank": 1, "sweeps": -1}),
            "ridge": (X2, {"rank": 1, "ridge": -1.0}),
            "bound": (X2, {"rank": 1, "bound": 1.0}),
            "x.ndim": (X1, {"rank": 1}),
        },
        tol=1e-7,  # as for tucker: the start is made of singular vectors
        batch={"batch": 1},
    ),
}
