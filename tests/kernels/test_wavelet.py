"""The wavelet room beyond the contract: values worked by hand, pywt as oracle, filters, odd and long axes, graphs."""

from math import log2, sqrt

import numpy as np
import pytest
import pywt
import torch
from compiled import check_compiles

import stage1_scipy
import stage2_numpy
import stage3_torch
from contract import WAVELETS
from stage2_numpy.filters import LATE_SYMLETS, filter_length, scaling_filter
from stage2_numpy.wavelet import dwt_basis, dwt_lengths, shannon_basis
from stage3_torch.wavelet import DENSE_SHANNON, SHORT

STAGES = {"scipy": stage1_scipy, "numpy": stage2_numpy, "torch": stage3_torch}
stages = pytest.mark.parametrize("stage", STAGES)


def call(stage, name, x, **spec):
    x = torch.from_numpy(np.ascontiguousarray(x)) if stage == "torch" else x
    y = getattr(STAGES[stage], name)(x, **spec)
    return tuple(np.asarray(part) for part in y) if isinstance(y, tuple) else np.asarray(y)


def near(got, want, tolerance=1e-12):  # float64; the wavelets that pywt has to fewer digits are named where they matter
    assert len(got) == len(want)
    for a, b in zip(got, want):
        assert a.shape == np.shape(b)
        assert np.abs(a - b).max(initial=0) < tolerance


# ---- values by hand -------------------------------------------------------------------------------------------------


@stages
def test_haar_by_hand(stage):
    # level 1 of (1, 3, 2, 8): sums (4, 10) / sqrt 2, differences (1 - 3, 2 - 8) / sqrt 2
    # level 2 of (4, 10) / sqrt 2: sum 14 / 2, difference (4 - 10) / 2
    code = call(stage, "dwt", np.array([1.0, 3, 2, 8]), levels=2)
    near(code, ([7.0], [-3.0], [-2 / sqrt(2), -6 / sqrt(2)]), 1e-14)


@stages
def test_odd_lengths_by_hand(stage):
    # (1, 3, 2, 8, 5): 5 passes, the rest as above: (4, 10) / sqrt 2 and 5.  Level 2 of these three: the first two give
    # 14 / 2 and -6 / 2, and 5 passes again.  Level 3 of (7, 5): 12 / sqrt 2 and 2 / sqrt 2.  Five numbers for five.
    code = call(stage, "dwt", np.array([1.0, 3, 2, 8, 5]), levels=3)
    near(code, ([12 / sqrt(2)], [2 / sqrt(2)], [-3.0], [-2 / sqrt(2), -6 / sqrt(2)]), 1e-14)


@stages
def test_db2_by_hand(stage):
    # h = (1 + r, 3 + r, 3 - r, 1 - r) / (4 sqrt 2), r = sqrt 3 (Daubechies 1992, table 6.1).  An impulse at sample 1 of
    # 8 reads, per output i, the tap at k = 2i + 2 - 1: low h[3 - k], high (-1)^(k+1) h[k], so k = 1 and 3 only.
    r, scale = sqrt(3), 4 * sqrt(2)
    approx, detail = call(stage, "dwt", np.eye(8)[1], wavelet="db2")
    near([approx], [[(3 - r) / scale, (1 + r) / scale, 0, 0]], 1e-14)
    near([detail], [[(3 + r) / scale, (1 - r) / scale, 0, 0]], 1e-14)


@stages
def test_shannon_by_hand(stage):
    # four samples: the mean, the frequency 1 (one cosine, one sine), the Nyquist frequency
    # (1 + 2 + 4 + 8) / 2;  (1 - 4) / sqrt 2;  (2 - 8) / sqrt 2;  (1 - 2 + 4 - 8) / 2
    y = call(stage, "shannon", np.array([1.0, 2, 4, 8]))
    near([y], [[7.5, -3 / sqrt(2), -6 / sqrt(2), -2.5]], 1e-14)


@stages
def test_shannon_octave_by_hand(stage):
    # eight samples: mean, [1, 2), [2, 4) with m = 2 translates by 4 samples, Nyquist: 1 + 2 + 4 + 1 numbers.
    # An impulse at 0 has every cosine 1 and every sine 0.  Band [1, 2): sqrt(2/8) = 1/2 and 0.  Band [2, 4), with
    # sqrt(2/16): translate 0 gives cos 0 + cos 0 = 2; translate 1, by half a turn of the circle, gives
    # cos(-2 pi) + cos(-3 pi) = 0; the sines sum to 0.
    y = call(stage, "shannon", np.eye(8)[0])
    near([y], [[sqrt(1 / 8), 1 / 2, 0, 2 * sqrt(1 / 8), 0, 0, 0, sqrt(1 / 8)]], 1e-14)


# ---- filters --------------------------------------------------------------------------------------------------------


def test_wavelets_are_all_orthogonal_ones_of_pywt():
    """Without dmey, whose 62 taps only approximate the orthogonal Meyer wavelet: it inverts to 1e-3 and no better."""
    orthogonal = {name for name in pywt.wavelist(kind="discrete") if pywt.Wavelet(name).orthogonal}
    assert set(WAVELETS) == orthogonal - {"dmey"}


@pytest.mark.parametrize("wavelet", WAVELETS)
def test_filters(wavelet):
    """Orthonormal to rounding, every order; equal to pywt's within pywt's own error of orthonormality."""
    h, theirs = scaling_filter(wavelet), np.array(pywt.Wavelet(wavelet).rec_lo)
    assert len(h) == filter_length(wavelet) == len(theirs)

    def error(h):
        return max(abs(h[2 * k :] @ h[: len(h) - 2 * k] - (k == 0)) for k in range(len(h) // 2))

    assert error(h) < 2e-14  # 76 products at most
    # 1e-14: rounding of 38 factors.  pywt's symlets carry up to 1.5e-11; the filter moves ten times less than its error
    # of orthonormality shows, or more by the condition of the roots.
    assert np.abs(h - theirs).max() < 1e-14 + 20 * error(theirs)


@pytest.mark.parametrize("wavelet", [w for w in WAVELETS if w not in ("haar", "db1")])
def test_vanishing_moments(wavelet):
    """sum (-1)^i h_i q(i) = 0 for polynomials q of degree below the order (2K for coifK), in an orthonormal basis."""
    h = scaling_filter(wavelet)
    family, order = wavelet.rstrip("0123456789"), int(wavelet.lstrip("abcdefghijklmnopqrstuvwxyz"))
    t = np.linspace(-1, 1, len(h))
    q, _ = np.linalg.qr(np.polynomial.chebyshev.chebvander(t, order * (2 if family == "coif" else 1) - 1))
    assert np.abs(q.T @ (h * (-1.0) ** np.arange(len(h)))).max() < 1e-12  # pywt's tables reach 1e-14 here, ours too


@pytest.mark.parametrize("order", range(1, 18))
def test_coiflets_scaling_function_has_moments_too(order):
    """sum h_i q(i) = sqrt 2 q(2K) for polynomials q of degree below 2K: what makes coifK a coiflet."""
    h = scaling_filter(f"coif{order}")
    t = np.linspace(-1, 1, len(h))
    q = np.polynomial.legendre.legvander(t, 2 * order - 1)  # bounded by one, where powers would cancel
    assert np.abs(h @ q - sqrt(2) * q[2 * order]).max() < 1e-13


# ---- the transform --------------------------------------------------------------------------------------------------


pointless = pytest.mark.filterwarnings(
    "ignore:Level value of:UserWarning"
)  # pywt's, of a filter longer than the signal


@pointless
@stages
@pytest.mark.parametrize("family", ["haar", "db", "sym", "coif"])
def test_equals_pywt_where_lengths_are_even(stage, family):
    x = np.random.default_rng(0).standard_normal((2, 40, 2))
    for wavelet in (name for name in WAVELETS if name.startswith(family)):
        want = pywt.wavedec(x, wavelet, "periodization", 2, axis=1)
        near(call(stage, "dwt", x, wavelet=wavelet, levels=2, axis=1), want, 1e-9)  # pywt's sym20 has 11 digits


@pointless
@pytest.mark.parametrize("wavelet", ["haar", "db2", "db4", "sym5", "sym16", "coif1", "coif5", "coif17", "db38"])
@pytest.mark.parametrize("n", [SHORT + 2, 512, 514, 640, 1000, 1024, 2042])
def test_long_axes_equal_pywt(wavelet, n):
    """The blocks of stage 3: composed levels, lengths that are no multiple of the block, filters longer than it."""
    x = np.random.default_rng(n).standard_normal((3, n))
    levels = next(k for k in (5, 4, 3, 2, 1) if n % 2**k == 0)
    code = call("torch", "dwt", x, wavelet=wavelet, levels=levels)
    near(code, pywt.wavedec(x, wavelet, "periodization", levels), 1e-10)  # 1e-10: pywt's symlets
    back = stage3_torch.idwt(tuple(map(torch.from_numpy, code)), wavelet)
    near([back.numpy()], [x], 1e-12)


@stages
@pytest.mark.parametrize("wavelet", ["haar", "db3", "sym8", "coif4"])
@pytest.mark.parametrize("n", [1, 2, 3, 5, 7, 31, 257, 511, 643, 1001])
def test_every_length_inverts_at_every_level(stage, wavelet, n):
    x = np.random.default_rng(n).standard_normal((2, n))
    most = (n - 1).bit_length()
    for levels in {0, 1, most // 2, most} - ({1} if n == 1 else set()):
        code = call(stage, "dwt", x, wavelet=wavelet, levels=levels)
        assert [part.shape[-1] for part in code] == dwt_lengths(n, levels)
        assert sum(part.shape[-1] for part in code) == n
        near(code, call("scipy", "dwt", x, wavelet=wavelet, levels=levels), 1e-10)
        assert sum((part**2).sum() for part in code) == pytest.approx((x**2).sum(), rel=1e-11)  # pywt's sym8
        parts = tuple(torch.from_numpy(part) for part in code) if stage == "torch" else code
        for spec in ({}, {"levels": levels}):  # the code alone is enough
            near([np.asarray(STAGES[stage].idwt(parts, wavelet, **spec))], [x], 1e-10)


def test_bases_are_orthonormal():
    for n in (1, 2, 5, 16, 37, 100):
        for wavelet in ("haar", "db10", "sym7", "coif3"):
            w = dwt_basis(n, wavelet, (n - 1).bit_length())
            assert np.abs(w @ w.T - np.eye(n)).max() < 1e-13


@pytest.mark.parametrize("n", [SHORT - 1, 2 * SHORT + 3, 3 * SHORT])
@pytest.mark.parametrize("name", ["dwt", "shannon"])
def test_adjoint_is_inverse(name, n):
    spec = {"wavelet": "db4", "levels": 3} if name == "dwt" else {}
    n = n + (name == "shannon") * DENSE_SHANNON
    x, y = torch.randn(2, 3, n, dtype=torch.float64, generator=torch.Generator().manual_seed(n))
    encode, decode = getattr(stage3_torch, name), getattr(stage3_torch, "i" + name)
    code = encode(y, **spec)
    x.requires_grad_()
    of_x = encode(x, **spec)
    pairs = zip(of_x, code) if name == "dwt" else [(of_x, code)]
    (gradient,) = torch.autograd.grad(sum((a * b).sum() for a, b in pairs), x)
    assert torch.allclose(gradient, y, atol=1e-12)  # W^T W y = y
    assert torch.allclose(decode(code, **spec), y, atol=1e-12)


@stages
def test_levels_and_codes_that_cannot_be(stage):
    x = np.ones(6)
    with pytest.raises(ValueError, match="levels must be 0 to 3 for 6 samples, got 4"):
        call(stage, "dwt", x, levels=4)
    with pytest.raises(ValueError, match="levels must be 0 to 0 for 1 samples, got 1"):
        call(stage, "dwt", x[:1])
    with pytest.raises(
        ValueError, match="wavelet must be haar, db1 to db38, sym2 to sym20 or coif1 to coif17, got 'db39'"
    ):
        call(stage, "dwt", x, wavelet="db39")
    make = torch.ones if stage == "torch" else np.ones
    idwt = STAGES[stage].idwt
    with pytest.raises(ValueError, match="levels must be 1, the number of details in the code, got 2"):
        idwt((make(3), make(3)), levels=2)
    with pytest.raises(ValueError, match="code must be details of 3 or 2 samples here, got 4"):
        idwt((make(3), make(4)))
    with pytest.raises(ValueError, match="code must be a tuple"):
        idwt(make(3))


# ---- Shannon --------------------------------------------------------------------------------------------------------


@stages
@pytest.mark.parametrize("n", [*range(1, 18), 31, 32, 33, 64, DENSE_SHANNON + 1, 1100, 2048])
def test_shannon_has_full_rank(stage, n):
    """Every band is what the DFT says it is, and together they lose nothing."""
    x = np.random.default_rng(n).standard_normal((2, n))
    if stage == "scipy" and n > 100:
        pytest.skip("the literal basis takes n FFTs")
    y = call(stage, "shannon", x)
    assert (y**2).sum() == pytest.approx((x**2).sum(), rel=1e-12)
    near([call(stage, "ishannon", y)], [x])
    energy = np.abs(np.fft.rfft(x, norm="ortho")) ** 2
    start = 1
    for octave in range(int(log2(n)) if n > 1 else 0):
        count = min(2 ** (octave + 1), (n + 1) // 2) - 2**octave
        if count < 1:
            break
        band = (y[:, start : start + 2 * count] ** 2).sum(1)
        assert band == pytest.approx(2 * energy[:, 2**octave : 2**octave + count].sum(1), rel=1e-10)
        start += 2 * count
    assert start + (n % 2 == 0) == n


@pytest.mark.parametrize("n", [DENSE_SHANNON + 1, 1100, 2048])
def test_long_shannon_equals_its_basis(n):
    x = np.random.default_rng(n).standard_normal((2, n))
    near([call("torch", "shannon", x)], [x @ shannon_basis(n).T])


def test_shannon_rows_of_one_octave_are_translates():
    """Band [4, 8) of 24 samples: four cosine rows, each the one before moved by 24 / 4 samples; the same for sines."""
    rows = shannon_basis(24)[1 + 2 + 4 :][:8]
    for k in range(3):
        near([rows[k + 1]], [np.roll(rows[k], 6)])
        near([rows[k + 5]], [np.roll(rows[k + 4], 6)])


# ---- torch ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("n", [30, 2 * SHORT + 1, DENSE_SHANNON + 7])
def test_half_precision_goes_by_float32(dtype, n):
    x = torch.randn(3, n, generator=torch.Generator().manual_seed(n)).to(dtype)
    code, want = (stage3_torch.dwt(z, "db3", 3) for z in (x, x.float()))
    assert all(torch.equal(a, b.to(dtype)) for a, b in zip(code, want))
    back = stage3_torch.idwt(code, "db3")
    assert torch.equal(back, stage3_torch.idwt(tuple(a.float() for a in code), "db3").to(dtype))
    assert torch.equal(stage3_torch.shannon(x), stage3_torch.shannon(x.float()).to(dtype))


@pytest.mark.filterwarnings("ignore:Torchinductor does not support code generation for complex")  # only slower
@pytest.mark.parametrize(
    "n", [SHORT // 8, pytest.param(2 * SHORT + 2, marks=pytest.mark.slow)]
)  # long signals take another path
@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.slow)])  # compiles C++
def test_compiles_without_graph_breaks(n, backend):
    def there_and_back(x):
        code = stage3_torch.dwt(x, "db2", 3, 0)
        return stage3_torch.idwt((code[0], 2 * code[1], *code[2:]), "db2", axis=0) + stage3_torch.shannon(x, 0)

    check_compiles(there_and_back, n, backend)


def test_symlets_face_as_pywt_has_them():
    for order in range(2, 21):
        h = scaling_filter(f"sym{order}")
        assert (np.arange(len(h)) @ h**2 > order - 0.5) == (order in LATE_SYMLETS)
