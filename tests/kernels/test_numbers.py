"""Numbers that few tests draw: large, small and denormal ones, unusual dtypes, byte orders, layouts and classes.

Each is right to its scale and precision in every stage, or refused in one sentence; none gives NaN or zero in silence.
"""

import numpy as np
import pytest
import torch
from test_contract import pair, stages

import stage1_scipy
import stage2_numpy
import stage3_torch
from contract import KERNELS, leaves, refill

STAGES = {"scipy": stage1_scipy, "numpy": stage2_numpy, "torch": stage3_torch}
numpy_stages = pytest.mark.parametrize("stage", ["scipy", "numpy"])
kernels = pytest.mark.parametrize("name", KERNELS)
RNG = np.random.default_rng(0)
X = {"svd": RNG.standard_normal((5, 8))} | dict.fromkeys(["ht", "tucker", "cp"], RNG.standard_normal((4, 5, 6)))
SPECS = {
    "dct": {"type": 2},
    "dst": {"type": 4},
    "dwt": {"wavelet": "db2", "levels": 2},
    "svd": {"rank": 2},
    "ht": {"rank": 2},
    "tucker": {"ranks": (2, 2, 2)},
    "cp": {"rank": 3, "sweeps": 10},
}
SIGNAL = RNG.standard_normal((3, 12))
REFUSAL = r"^(x|code)\S* must be .*, got "


def as_given(stage, x):
    return torch.from_numpy(x) if stage == "torch" else x


def there_and_back(stage, name, x, **more):
    """(code, reconstruction) of an array of that stage."""
    encode, decode = pair(stage, name)
    spec = SPECS.get(name, {}) | more
    code = encode(x, **spec)
    return code, decode(code, **KERNELS[name].decoding(spec))


def example(name):
    return X.get(name, SIGNAL)


def error(x, want):
    """|x - want| / |want|; of the DFT's complex reconstruction the real part, which is all there is."""
    return np.linalg.norm(np.asarray(x) - want.real) / np.linalg.norm(want.real)


# ---- scale ----------------------------------------------------------------------------------------------------------

SCALES = [(np.float32, scale) for scale in (1e-38, 1e-30, 1e-20, 1e20, 1e30, 1e35)]
SCALES += [(np.float64, scale) for scale in (1e-305, 1e-200, 1e-160, 1e160, 1e200, 1e304)]


@kernels
@stages
@pytest.mark.parametrize(("dtype", "scale"), SCALES)
def test_large_and_small_numbers_are_right_to_their_scale(stage, name, dtype, scale):
    x = example(name)
    want = np.asarray(there_and_back(stage, name, as_given(stage, x))[1])
    code, back = there_and_back(stage, name, as_given(stage, (x * scale).astype(dtype)))
    assert all(np.isfinite(np.asarray(array)).all() for array in leaves(code))
    # rounding through ten sweeps, and what the grid of the denormal numbers takes at the lower end
    tolerance = 5e-5 if dtype is np.float32 else 1e-10
    assert error(np.asarray(back).real.astype(np.float64) / scale, want) < tolerance


@kernels
@stages
@pytest.mark.parametrize(("dtype", "scale"), [(np.float32, 2.0**-140), (np.float64, 2.0**-1060)])
def test_denormal_numbers_are_right_to_their_grid(stage, name, dtype, scale):
    x = (example(name) * scale).astype(dtype)  # 9 and 14 bits are left of each
    code, back = there_and_back(stage, name, as_given(stage, x))
    want = np.asarray(there_and_back(stage, name, as_given(stage, x.astype(np.float64) / scale))[1])
    assert all(np.isfinite(np.asarray(array)).all() for array in leaves(code))
    assert error(np.asarray(back).real.astype(np.float64) / scale, want) < 0.01


@kernels
@stages
@pytest.mark.parametrize(("dtype", "largest"), [(np.float32, 3e38), (np.float64, 1.7e308)])
def test_numbers_whose_sums_overflow_are_refused(stage, name, dtype, largest):
    x = np.full(example(name).shape, largest, dtype)
    x.flat[1::2] *= -1  # of sum zero
    with pytest.raises(ValueError, match=r"^x must be at most .* in magnitude, .*, got 'an array with max \|x\| = "):
        pair(stage, name)[0](as_given(stage, x), **SPECS.get(name, {}))


@pytest.mark.parametrize("name", ["svd", "ht", "tucker", "cp"])
def test_every_array_of_a_batch_has_its_own_scale(name):
    x = torch.from_numpy(example(name))
    scales = (1e-200, 1.0, 1e200)
    batch = {} if name == "svd" else {"batch": 1}
    back = there_and_back("torch", name, torch.stack([scale * x for scale in scales]), **batch)[1]
    want = there_and_back("torch", name, x)[1]
    for scale, y in zip(scales, back):
        assert error(y / scale, want.numpy()) < 1e-10


@pytest.mark.parametrize("name", ["svd", "ht", "tucker", "cp"])
@pytest.mark.parametrize(("dtype", "scale"), [(torch.float32, 1e25), (torch.float32, 1e-25), (torch.float64, 1e200)])
def test_gradients_do_not_depend_on_the_scale(name, dtype, scale):
    """The derivative of x -> x_hat is the same at every scale, since x_hat(c x) = c x_hat(x)."""
    gradients = []
    for unit in (1.0, scale):
        x = (torch.from_numpy(example(name)) * unit).to(dtype).requires_grad_()
        back = there_and_back("torch", name, x)[1]
        (gradient,) = torch.autograd.grad((back * torch.linspace(-1, 1, 8 if name == "svd" else 6)).sum(), x)
        gradients.append(gradient)
    torch.testing.assert_close(gradients[1], gradients[0], atol=1e-3 if dtype == torch.float32 else 1e-9, rtol=0)


@stages
@pytest.mark.parametrize("scale", [1e-200, 1e-100, 1e100, 1e150])
def test_tolerance_is_relative_at_every_scale(stage, scale):
    x = X["ht"]
    shapes = [array.shape for array in leaves(STAGES[stage].ht(as_given(stage, x), tol=0.5))]
    assert [array.shape for array in leaves(STAGES[stage].ht(as_given(stage, x * scale), tol=0.5))] == shapes


@stages
def test_ranks_at_every_scale(stage):
    spectrum = np.array([3.0, 2.0, 1e-3])
    noisy = np.outer(np.ones(12), np.ones(9)) + 0.01 * np.random.default_rng(1).standard_normal((12, 9))
    want = STAGES[stage].evbmf(as_given(stage, noisy))
    for scale in (1e-100, 1e100, 1e150):
        assert int(STAGES[stage].energy_rank(as_given(stage, spectrum * scale), 0.9)) == 2
        result = STAGES[stage].evbmf(as_given(stage, noisy * scale))
        assert int(result.rank) == int(want.rank) == 1
        assert float(result.sigma2) == pytest.approx(float(want.sigma2) * scale**2, rel=1e-5)  # a search
        np.testing.assert_allclose(np.asarray(result.s) / scale, np.asarray(want.s), rtol=1e-6, atol=1e-12)
    assert int(STAGES[stage].energy_rank(as_given(stage, spectrum * 1e300), 0.9)) == 2


@stages
@pytest.mark.parametrize("scale", [1e-200, 1e200])
def test_a_noise_variance_that_is_no_number_is_refused(stage, scale):
    x = scale * np.random.default_rng(1).standard_normal((12, 9))
    for use in (
        lambda: STAGES[stage].evbmf(as_given(stage, x)),
        lambda: STAGES[stage].evbmf_spectrum(as_given(stage, np.linalg.svd(x)[1]), (12, 9)),
    ):
        with pytest.raises(ValueError, match=r"^x must be of numbers whose squares .* can hold, got "):
            use()


# ---- dtypes and byte orders -----------------------------------------------------------------------------------------


@kernels
@numpy_stages
@pytest.mark.parametrize("dtype", [">f4", ">f8", "<f4", "<f8"])
def test_byte_order_changes_nothing(stage, name, dtype):
    x = example(name).astype(dtype)
    native = x.astype(x.dtype.newbyteorder("="))
    code, back = there_and_back(stage, name, x)
    want_code, want = there_and_back(stage, name, native)
    for array, expected in zip([*leaves(code), back], [*leaves(want_code), want]):
        assert array.dtype == expected.dtype
        assert array.dtype.isnative
        np.testing.assert_array_equal(array, expected)
    foreign = refill(code, (a.astype(a.dtype.newbyteorder()) for a in leaves(code)))
    spec = KERNELS[name].decoding(SPECS.get(name, {}))
    np.testing.assert_array_equal(pair(stage, name)[1](foreign, **spec), want)


@kernels
@stages
def test_half_precision_is_computed_in_float32_and_rounded_once(stage, name):
    x = example(name).astype(np.float16)
    code, back = there_and_back(stage, name, as_given(stage, x))
    kinds = {str(array.dtype).removeprefix("torch.") for array in [*leaves(code), back]}
    assert kinds == ({"complex64"} if name == "dft" else {"float16"})
    single = there_and_back(stage, name, as_given(stage, x.astype(np.float32)))[0]
    tolerance = 0.0 if name == "dft" else 2.0**-11  # half a unit in the last place
    for array, wide in zip(leaves(code), leaves(single)):
        np.testing.assert_allclose(np.abs(np.asarray(array)), np.abs(np.asarray(wide)), rtol=tolerance, atol=6e-8)


@stages
def test_half_precision_refuses_what_it_cannot_hold(stage):
    x = np.full((4, 4), 6e4, np.float16)  # the mean of four is 1.2e5
    for name, spec in (("dct", {}), ("svd", {"rank": 1}), ("tucker", {"ranks": (1, 1)}), ("cp", {"rank": 1})):
        with pytest.raises(ValueError, match=r"^x must be of results that float16 can hold, got "):
            pair(stage, name)[0](as_given(stage, x), **spec)


@kernels
@numpy_stages
@pytest.mark.parametrize(
    "dtype",
    [np.longdouble, np.int8, np.int64, bool, object, "U3", "M8[s]", np.clongdouble, [("float", "f8")]],
    ids=str,
)
def test_other_dtypes_of_numpy_are_refused(stage, name, dtype):
    if np.dtype(dtype) in (np.float64, np.complex128):
        pytest.skip("long double is double here")
    x = np.zeros((2, 2, 2), dtype)
    with pytest.raises(ValueError, match=REFUSAL):
        pair(stage, name)[0](x if name != "svd" else x[0], **SPECS.get(name, {}))


OTHER_DTYPES = [torch.int8, torch.int64, torch.bool, torch.uint16, torch.complex32, torch.float8_e4m3fn]


@kernels
@pytest.mark.parametrize("dtype", OTHER_DTYPES)
@pytest.mark.filterwarnings("ignore:ComplexHalf support is experimental")
def test_other_dtypes_of_torch_are_refused(name, dtype):
    x = torch.zeros(2, 2, 2, dtype=dtype)
    with pytest.raises(ValueError, match=r"^x\.dtype must be .*, got "):
        pair("torch", name)[0](x, **SPECS.get(name, {}))


@stages
@pytest.mark.parametrize("name", ["svd", "ht", "tucker", "cp"])
def test_codes_of_other_dtypes_are_refused(stage, name):
    code = there_and_back(stage, name, as_given(stage, example(name)))[0]
    integers = refill(code, (a.astype(int) if stage != "torch" else a.to(torch.int64) for a in leaves(code)))
    with pytest.raises(ValueError, match=r"^code\.dtype must be .*, got 'int64'"):
        pair(stage, name)[1](integers)


def test_a_code_of_two_dtypes_is_refused_where_torch_cannot_multiply_them():
    u, s, vt = stage3_torch.svd(torch.eye(3), 2)
    with pytest.raises(ValueError, match=r"^code\.dtype must be the same in all tensors, got "):
        stage3_torch.unsvd(type(stage3_torch.svd(torch.eye(3), 2))(u, s.double(), vt))


# ---- layouts, classes, devices --------------------------------------------------------------------------------------


@kernels
@stages
@pytest.mark.parametrize("layout", ["read only", "reversed", "strided", "fortran", "broadcast"])
def test_layout_changes_nothing(stage, name, layout):
    x = example(name).copy()
    if layout == "broadcast":
        x = np.broadcast_to(x[:1], x.shape)
    want_code, want = there_and_back(stage, name, as_given(stage, np.ascontiguousarray(x)))
    y = {
        "read only": lambda: x,
        "reversed": lambda: np.ascontiguousarray(x[::-1])[::-1],
        "strided": lambda: np.repeat(x, 2, -1)[..., ::2],
        "fortran": lambda: np.asfortranarray(x),
        "broadcast": lambda: x,
    }[layout]()
    if stage == "torch":
        if layout in ("reversed", "read only", "broadcast"):  # torch has neither: the closest are a flip and an expand
            y = torch.from_numpy(x[:1].copy()).expand(x.shape) if layout == "broadcast" else torch.from_numpy(x.copy())
        else:
            y = torch.from_numpy(y)
    elif layout == "read only":
        y.flags.writeable = False
    before = np.asarray(y).copy()
    code, back = there_and_back(stage, name, y)
    np.testing.assert_array_equal(np.asarray(y), before)
    for array, expected in zip([*leaves(code), back], [*leaves(want_code), want]):
        np.testing.assert_allclose(np.abs(np.asarray(array)), np.abs(np.asarray(expected)), atol=1e-7)


@kernels
@numpy_stages
def test_subclasses_are_taken_as_plain_arrays_and_masked_numbers_are_refused(stage, name):
    class Tagged(np.ndarray):
        """An array whose `*` would be another product, as that of np.matrix."""

        def __mul__(self, other):
            raise AssertionError("the subclass was used")

    x = example(name)
    for array, want in zip(
        leaves(there_and_back(stage, name, x.view(Tagged))[0]), leaves(there_and_back(stage, name, x)[0])
    ):
        assert type(array) is np.ndarray
        np.testing.assert_array_equal(array, want)
    with pytest.raises(ValueError, match=r"^x must be an array of known numbers, got 'MaskedArray'"):
        pair(stage, name)[0](np.ma.masked_greater(x, 0.5), **SPECS.get(name, {}))


@kernels
@stages
def test_scalars_and_other_libraries_arrays_are_refused(stage, name):
    encode, spec = pair(stage, name)[0], SPECS.get(name, {})
    other = torch.ones(2, 2) if stage != "torch" else np.ones((2, 2))
    for x in (as_given(stage, np.array(1.0)), np.float64(1.0), 1.0, None, "x", other):
        with pytest.raises(ValueError, match=r"^x\S* must be .*, got "):
            encode(x, **spec)


@kernels
@pytest.mark.filterwarnings("ignore:.*[sS]parse.*")
@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_sparse_and_nested_tensors_are_refused(name):
    for x in (torch.eye(3).to_sparse(), torch.nested.nested_tensor([torch.ones(2), torch.ones(3)])):
        with pytest.raises(ValueError, match=r"^x\.layout must be torch\.strided, .*, got "):
            pair("torch", name)[0](x, **SPECS.get(name, {}))


@kernels
def test_parameters_are_tensors(name):
    x = torch.nn.Parameter(torch.from_numpy(example(name)))
    assert there_and_back("torch", name, x)[1].requires_grad


@kernels
def test_the_meta_device_gives_shapes(name):
    x = torch.from_numpy(example(name))
    code, back = there_and_back("torch", name, x)
    meta_code, meta_back = there_and_back("torch", name, x.to("meta"))
    for array, want in zip([*leaves(meta_code), meta_back], [*leaves(code), back]):
        assert (array.device.type, array.shape, array.dtype) == ("meta", want.shape, want.dtype)


def test_the_meta_device_has_no_ranks_to_read():
    x = torch.ones(3, 4, device="meta")
    assert stage3_torch.evbmf(x).rank.device.type == "meta"
    assert stage3_torch.energy_rank(x, 0.9).shape == (3,)
    with pytest.raises(ValueError, match=r"^tol must be None on the meta device, .*, got 0.1"):
        stage3_torch.ht(x, tol=0.1)
