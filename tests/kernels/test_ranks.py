"""Ranks from spectra: values by hand, planted ranks, inputs on which public copies crash, agreement."""

from math import sqrt

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st

import stage1_scipy
import stage2_numpy
import stage3_torch
from contract import EVB
from stage2_numpy.ranks import tau_threshold

STAGES = {"scipy": stage1_scipy, "numpy": stage2_numpy, "torch": stage3_torch}
stages = pytest.mark.parametrize("stage", STAGES)
shapes = pytest.mark.parametrize("shape", [(40, 60), (60, 40), (50, 50), (12, 200), (200, 12)])
SIGMA2 = 1e-6  # agreement of the noise variance: a minimiser of values with 16 digits has 8, and s in float64 has more


def call(stage, name, x, *args):
    result = getattr(STAGES[stage], name)(torch.from_numpy(x) if stage == "torch" else x, *args)
    return EVB(int(result.rank), float(result.sigma2), np.asarray(result.s)) if isinstance(result, EVB) else int(result)


def planted(shape, rank, noise, seed=0):
    """A matrix with `rank` singular values of 1 to 2 times sqrt(mn), and noise of that standard deviation."""
    rng = np.random.default_rng(seed)
    u, v = (np.linalg.qr(rng.standard_normal((n, rank)))[0] for n in shape)
    return sqrt(shape[0] * shape[1]) * (u * np.linspace(2, 1, rank)) @ v.T + noise * rng.standard_normal(shape)


@stages
@pytest.mark.parametrize(
    ("s", "energy", "rank"),
    [
        ([3, 1], 0.9, 1),  # 9 of 10 is exactly 0.9, and 1 - 0.9 is not exactly 0.1
        ([3, 1], 0.91, 2),
        ([1, 3], 0.9, 1),  # in any order
        ([2, 1, 1, 1, 1], 0.5, 1),  # 4, 5, 6, 7, 8 of 8
        ([2, 1, 1, 1, 1], 0.51, 2),
        ([2, 1, 1, 1, 1], 0.75, 3),
        ([2, 1, 1, 1, 1], 1.0, 5),
        ([3, 1], 1.0, 2),
        ([3, 1, 1e-17], 1.0, 2),  # what rounding left is not energy
        ([1, 1.2e-8], 1.0, 1),  # 1 + 1.44e-16 rounds up to more than 1, by less than a sum can be trusted
        ([1, 1e-7], 1.0, 2),  # what counts is kept
        ([1, 0, 0], 1.0, 1),
        ([0, 0, 0], 1.0, 1),
        ([0, 0, 0], 0.5, 1),
        ([5], 0.01, 1),
        ([1] * 10, 0.3, 3),  # 0.3 * 10 is 3 and a bit
        ([1] * 10, 0.7, 7),
        ([1e-200, 1e-200], 1.0, 1),  # squares that vanish: nothing there, and nothing divided by it
    ],
)
def test_energy_rank_by_hand(stage, s, energy, rank):
    assert call(stage, "energy_rank", np.array(s, float), energy) == rank


@stages
def test_energy_rank_keeps_all_that_counts(stage):
    s = np.sqrt(np.full(1000, 0.1))  # a sum that rounds
    assert call(stage, "energy_rank", s, 1.0) == 1000
    assert call(stage, "energy_rank", s.astype(np.float32), 1.0) == 1000
    for small, rank in ((1e-5, 2), (1e-8, 1)):  # the rounding of float32 lies between
        assert call(stage, "energy_rank", np.array([1, small], np.float32), 1.0) == rank


@given(st.lists(st.floats(0, 1e3, width=32), min_size=1, max_size=20), st.floats(0.01, 1))
def test_energy_rank_is_the_smallest(s, energy):
    s = -np.sort(-np.array(s))
    ranks = {call(stage, "energy_rank", s, energy) for stage in STAGES}
    kept, total = np.cumsum(s**2), (s**2).sum()
    slack = 1e-14 * total  # twenty roundings
    for rank in ranks:
        assert kept[rank - 1] >= energy * total - slack
        assert rank == 1 or kept[rank - 2] <= energy * total + slack


@stages
@pytest.mark.parametrize("energy", [0, -0.5, 1.1, float("nan")])
def test_energy_rank_refuses(stage, energy):
    with pytest.raises(ValueError, match=r"^energy must be in \(0, 1\], got "):
        call(stage, "energy_rank", np.ones(3), energy)
    with pytest.raises(ValueError, match=r"^x must be .*, got "):
        call(stage, "energy_rank", np.full(3, np.nan), 0.5)


@pytest.mark.parametrize("alpha", [1e-6, 0.01, 1 / 9, 0.5, 1])
def test_threshold(alpha):
    t = tau_threshold(alpha)
    assert np.log1p(t) + alpha * np.log1p(t / alpha) == pytest.approx(t, rel=1e-14)
    if alpha > 0.1:  # the authors' approximation is exact at 1, 3 % off at 1/9 and 40 % at 1e-6
        assert t == pytest.approx(2.5129 * sqrt(alpha), rel=0.04)


@stages
def test_evbmf_by_hand(stage):
    # 4 x 4, so alpha = 1.  Let sigma^2 = 1 and one signal of tau = 19: x = (1 + 19)(1 + 1/19) = 400/19, s^2 = 4 x.
    # Stationarity, sum of x over the noise = 4 - (1 + 1 + 1/19) = 37/19, is met by x = 20/19, 10/19, 7/19, all below
    # the threshold (1 + 2.513)(1 + 1 / 2.513) = 4.91.  No signal at all would mean sigma^2 = 23/4 and a free energy of
    # 4 + 4 log(23/4) = 11.0 against 23 + 2 log 20 - 19 = 10.0.  The signal shrinks by tau / x to 36.1 / sqrt(19).
    s = 2 * np.sqrt(np.array([400, 20, 10, 7]) / 19)
    for result in (call(stage, "evbmf", np.diag(s)), call(stage, "evbmf_spectrum", s[::-1].copy(), (4, 4))):
        assert result.rank == 1
        assert result.sigma2 == pytest.approx(1, rel=SIGMA2)
        np.testing.assert_allclose(result.s, [36.1 / sqrt(19), 0, 0, 0], rtol=SIGMA2)


@stages
@shapes
@pytest.mark.parametrize("noise", [0.01, 0.1, 0.3])
def test_evbmf_finds_the_planted_rank(stage, shape, noise):
    result = call(stage, "evbmf", planted(shape, 5, noise))
    assert result.rank == 5 == np.count_nonzero(result.s)
    assert result.sigma2 == pytest.approx(noise**2, rel=0.1)  # 2400 samples, less those that 5 components absorb
    want = sqrt(shape[0] * shape[1]) * np.linspace(2, 1, 5)  # which the shrinkage undoes the noise's bias to
    np.testing.assert_allclose(result.s[:5], want, rtol=0.1)


@stages
@shapes
def test_evbmf_of_noise_and_of_exact_ranks(stage, shape):
    """On these the public copies crash: rank 0, tall matrices, a zero for a bound."""
    result = call(stage, "evbmf", np.random.default_rng(0).standard_normal(shape))
    assert result.rank == 1
    assert not result.s.any()
    assert result.sigma2 == pytest.approx(1, rel=0.1)
    for rank in (1, 4):
        result = call(stage, "evbmf", planted(shape, rank, 0))
        assert result.rank == rank
        assert 0 < result.sigma2 < 1e-11  # of a mean square of about 2: the floor
        assert call(stage, "evbmf", planted(shape, rank, 0).astype(np.float32)).rank == rank


@stages
@pytest.mark.parametrize("shape", [(4, 6), (6, 4), (1, 5), (5, 1), (1, 1)])
def test_evbmf_of_little(stage, shape):
    zero = call(stage, "evbmf", np.zeros(shape))
    assert (zero.rank, zero.sigma2) == (1, 0)
    assert not zero.s.any()
    ones = call(stage, "evbmf", np.ones(shape))
    assert ones.rank == 1
    assert np.isfinite(ones.sigma2)
    assert np.isfinite(ones.s).all()


@given(data=st.data())
def test_evbmf_agrees_and_scales(data):
    shape = data.draw(st.tuples(st.integers(2, 12), st.integers(2, 12)))
    s = np.array(data.draw(st.lists(st.integers(0, 100), min_size=min(shape), max_size=min(shape))), float)
    first, *others = (call(stage, "evbmf_spectrum", s, shape) for stage in STAGES)
    for other in [*others, call("torch", "evbmf_spectrum", 8 * s, shape)]:
        unit = 8 if other is not others[0] and other is not others[1] else 1
        assert other.rank == first.rank
        assert other.sigma2 == pytest.approx(first.sigma2 * unit**2, rel=SIGMA2)
        np.testing.assert_allclose(other.s, first.s * unit, rtol=SIGMA2, atol=1e-3 * SIGMA2)


@shapes
@pytest.mark.parametrize("noise", [0, 0.1, 1, 3])
def test_evbmf_stages_agree_on_matrices(shape, noise):
    x = planted(shape, 3, noise, seed=1)
    first, *others = (call(stage, "evbmf", x) for stage in STAGES)
    for other in others:
        assert other.rank == first.rank
        assert other.sigma2 == pytest.approx(first.sigma2, rel=SIGMA2 if noise else 100)  # a floor is a magnitude
        np.testing.assert_allclose(other.s, first.s, rtol=10 * SIGMA2)  # the shrinkage leans on sigma^2


@stages
@pytest.mark.parametrize(
    ("s", "shape"),
    [
        ([30, 14, 9, 8, 7, 6, 5, 4, 3, 2], (10, 15)),  # several kinks
        ([34, 13, 6, 3], (4, 4)),  # two minima, of one signal and of none, of nearly the same energy
        ([57, 33, 23, 21, 16, 3], (6, 8)),
    ],
)
def test_evbmf_minimises_the_free_energy(stage, s, shape):
    """Against a fine grid over the free energy in its plainest form."""
    s, (small, large) = np.array(s, float), shape
    alpha, t = small / large, tau_threshold(small / large)

    def energy(sigma2):
        x = s**2 / (large * sigma2[:, None])
        signal = x > (1 + t) * (1 + alpha / t)
        root = np.sqrt(np.where(signal, (x - 1 - alpha) ** 2 - 4 * alpha, 0))
        tau = np.where(signal, (x - 1 - alpha + root) / 2, 0)
        return (x - np.log(x) + np.log(tau + 1) + alpha * np.log(tau / alpha + 1) - tau).sum(1)

    grid = np.geomspace((s[-1] ** 2) / large / 10, (s**2).sum() / small / large, 20001)
    best = call(stage, "evbmf_spectrum", s, (small, large)).sigma2
    energies = energy(grid)
    assert energy(np.array([best]))[0] <= energies.min() + 1e-9
    assert best == pytest.approx(grid[energies.argmin()], rel=1e-3)  # the grid's step


def test_batches_equal_loops_and_keep_dtypes():
    x = torch.from_numpy(np.stack([planted((12, 20), rank, 0.1, rank) for rank in (1, 2, 4, 3, 5, 1)])).float()
    x[5] = 0
    many = stage3_torch.evbmf(x.reshape(2, 3, 12, 20))
    energies = stage3_torch.energy_rank(torch.linalg.svdvals(x).reshape(2, 3, 12), 0.9)
    assert many.rank.dtype == energies.dtype == torch.int64
    assert many.sigma2.dtype == many.s.dtype == torch.float32
    assert many.rank.tolist() == [[1, 2, 4], [3, 5, 1]]
    for i, one in enumerate(x):
        result = stage3_torch.evbmf(one)
        torch.testing.assert_close(many.sigma2.flatten()[i], result.sigma2)
        torch.testing.assert_close(many.s.reshape(6, 12)[i], result.s)
        assert energies.flatten()[i] == stage3_torch.energy_rank(torch.linalg.svdvals(one), 0.9)
    half = stage3_torch.evbmf(x[1].bfloat16())
    assert (int(half.rank), half.sigma2.dtype, half.s.dtype) == (2, torch.bfloat16, torch.bfloat16)


def test_compiles_to_one_graph():
    def ranks(x):
        return stage3_torch.evbmf(x), stage3_torch.energy_rank(torch.linalg.svdvals(x), 0.9)

    x = torch.from_numpy(planted((12, 20), 3, 0.1))
    torch.testing.assert_close(torch.compile(ranks, fullgraph=True, backend="aot_eager")(x), ranks(x))


@stages
def test_evbmf_refuses(stage):
    for bad, argument in ((np.full((2, 2), np.inf), "x"), (np.ones(2), "x.ndim"), (np.ones((2, 0)), "x.shape")):
        with pytest.raises(ValueError, match=rf"^{argument} must be .*, got "):
            call(stage, "evbmf", bad)
    with pytest.raises(ValueError, match=r"^s.shape must be .*, got "):
        call(stage, "evbmf_spectrum", np.ones(3), (2, 5))
    with pytest.raises(ValueError, match=r"^shape must be .*, got "):
        call(stage, "evbmf_spectrum", np.ones(3), (3,))
