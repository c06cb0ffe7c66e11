"""Every kernel, every stage, one test per promise of contract.py."""

import inspect

import numpy as np
import pytest
import torch
from cases import CASES
from hypothesis import given, strategies as st
from torch.autograd import gradcheck

import stage1_scipy
import stage2_numpy
import stage3_torch
from contract import KERNELS, leaves, refill

STAGES = {"scipy": stage1_scipy, "numpy": stage2_numpy, "torch": stage3_torch}
kernels = pytest.mark.parametrize("name", KERNELS)
stages = pytest.mark.parametrize("stage", STAGES)
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"))]


def pair(stage, name):
    kernel = KERNELS[name]
    return getattr(STAGES[stage], kernel.encode), getattr(STAGES[stage], kernel.decode)


def to_stage(stage, x):
    return torch.from_numpy(np.ascontiguousarray(x)) if stage == "torch" else x


def run(stage, name, x, spec):
    """(unique part of the code, reconstruction), as NumPy, from a NumPy input."""
    encode, decode = pair(stage, name)
    code = encode(to_stage(stage, x), **spec)
    return [np.asarray(a) for a in CASES[name].unique(code)], np.asarray(decode(code, **KERNELS[name].decoding(spec)))


def public(stage):
    """The functions of a stage that have no underscore in front."""
    return {name for name, value in vars(stage).items() if callable(value) and not name.startswith("_")}


def close(a, b, tol, x):
    assert a.shape == b.shape
    assert np.abs(a - b).max(initial=0) <= tol * (1 + np.abs(x).max(initial=0)), np.abs(a - b).max()


def test_every_kernel_is_everywhere():
    names = {name for kernel in KERNELS.values() for name in (kernel.encode, kernel.decode)}
    assert set(CASES) == set(KERNELS)
    for stage in STAGES.values():
        assert names <= public(stage)
        assert public(stage) == public(stage1_scipy)


@kernels
@stages
def test_a_decoder_takes_the_keys_that_the_table_names_and_no_other(stage, name):
    decode = pair(stage, name)[1]
    assert tuple(inspect.signature(decode).parameters)[1:] == KERNELS[name].decodes


@kernels
@pytest.mark.parametrize("stage", ["numpy", "torch"])
@given(data=st.data())
def test_agrees_with_scipy(stage, name, data):
    x, spec = data.draw(CASES[name].draw)
    want_code, want = run("scipy", name, x, spec)
    code, back = run(stage, name, x, spec)
    close(back, want, CASES[name].tol, x)
    assert len(code) == len(want_code)
    for a, b in zip(code, want_code):
        close(a, b, 10 * CASES[name].tol, x)


@kernels
@stages
@given(data=st.data())
def test_inverts_or_projects(stage, name, data):
    x, spec = data.draw(CASES[name].draw)
    code, back = run(stage, name, x, spec)
    energy = (x**2).sum()
    if KERNELS[name].linear:
        close(back, x, CASES[name].tol, x)
        assert sum((np.abs(a) ** 2).sum() for a in code) == pytest.approx(energy, rel=CASES[name].tol, abs=1e-12)
    else:
        assert (back**2).sum() + ((x - back) ** 2).sum() == pytest.approx(energy, rel=CASES[name].tol)


@kernels
@given(data=st.data())
def test_gradients(name, data):
    x, spec = data.draw(CASES[name].draw)
    encode, decode = pair("torch", name)
    x = to_stage("torch", x)
    code = encode(x, **spec)
    arrays = [a.detach().clone().requires_grad_() for a in leaves(code)]
    decoding = KERNELS[name].decoding(spec)
    assert gradcheck(lambda *a: decode(refill(code, iter(a)), **decoding), arrays, fast_mode=True)
    assert gradcheck(lambda x: decode(encode(x, **spec), **decoding), x.requires_grad_(), fast_mode=True)


@kernels
@stages
@given(data=st.data())
def test_keeps_float32(stage, name, data):
    x, spec = data.draw(CASES[name].draw)
    encode, decode = pair(stage, name)
    code = encode(to_stage(stage, x.astype(np.float32)), **spec)
    back = decode(code, **KERNELS[name].decoding(spec))
    assert {str(a.dtype).removeprefix("torch.") for a in [*leaves(code), back]} <= {"float32", "complex64"}
    close(np.asarray(back), run(stage, name, x, spec)[1], 2e-4, x)  # 2e-4: float32 through an iteration


@kernels
@pytest.mark.parametrize("device", DEVICES)
@given(data=st.data())
def test_batch_equals_loop(device, name, data):
    x, spec = data.draw(CASES[name].draw)
    encode, decode = pair("torch", name)
    batch = torch.from_numpy(np.stack([x, -2 * x]))
    if spec.get("axis", -1) >= 0:
        spec = spec | {"axis": spec["axis"] - x.ndim}  # counted from the end, so that a batch axis fits in front
    together = spec | (CASES[name].batch or {})
    batched = decode(encode(batch.to(device), **together), **KERNELS[name].decoding(together)).cpu()
    for one, back in zip(batch, batched):
        close(back.numpy(), run("torch", name, one.numpy(), spec)[1], 10 * CASES[name].tol, x)


@kernels
@stages
@pytest.mark.parametrize("bad", ["nan", "empty", "integer", "list"])
def test_refuses_bad_arrays(stage, name, bad):
    (x, spec), encode = next(iter(CASES[name].bad.values())), pair(stage, name)[0]
    x = {"nan": x * np.nan, "empty": x[:0], "integer": x.astype(int)}.get(bad, x)
    with pytest.raises(ValueError, match=r"^x.* must be .*, got "):
        encode(x.tolist() if bad == "list" else to_stage(stage, x), **spec)


@kernels
@stages
def test_refuses_bad_arguments(stage, name):
    for argument, (x, spec) in CASES[name].bad.items():
        with pytest.raises(ValueError, match=r" must be .*, got ") as refusal:
            pair(stage, name)[0](to_stage(stage, x), **spec)
        assert str(refusal.value).startswith(argument + " must be")
