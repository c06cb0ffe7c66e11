"""What stands between complex layers: activations, pools and a BatchNorm that whitens, by hand."""

from math import sqrt

import torch

from layers import Cardioid, ComplexAvgPool2d, ComplexBatchNorm2d, ComplexMaxPool2d, ConcatenatedReLU, Magnitude


def test_cardioid_is_the_relu_on_the_real_axis():
    z = torch.tensor([3, -2, 4j, 0], requires_grad=True)
    y = Cardioid()(z)
    assert torch.allclose(y, torch.tensor([3, 0, 2j, 0]), atol=1e-6)
    Magnitude()(y).sum().backward()
    assert torch.isfinite(torch.view_as_real(z.grad)).all()


def test_concatenated_relu_and_pools_by_hand():
    z = torch.tensor([[1 + 2j, -3 - 4j], [0.5j, 2 - 1j]])[None, None]
    assert ConcatenatedReLU()(z).flatten().tolist() == [1, 4j, 0, 2 + 1j]
    assert ComplexMaxPool2d(2)(z).flatten().tolist() == [-3 - 4j]
    assert ComplexAvgPool2d(2)(z).flatten().tolist() == [0 - 0.625j]


def test_batch_norm_whitens_parts_that_were_correlated():
    torch.manual_seed(0)
    a, b = torch.randn(2, 32, 3, 6, 6, dtype=torch.float64)
    z = torch.complex(2 * a + 1, a + 0.5 * b - 3)
    norm = ComplexBatchNorm2d(3, eps=1e-12, momentum=1.0).double()
    y = norm(z)
    parts = torch.stack([y.real, y.imag]).transpose(1, 2).flatten(2)  # (2, channels, samples)
    assert parts.mean(2).abs().max() < 1e-10
    covariance = torch.einsum("ics,jcs->cij", parts, parts) / parts.shape[2]
    assert (covariance - torch.eye(2) / 2).abs().max() < 1e-6  # eps over the variance; gamma begins at 1 / sqrt 2
    count = parts.shape[2]
    again = norm.eval()(z)  # the running covariance is the unbiased one
    assert (again * sqrt(count / (count - 1)) - y).abs().max() < 1e-6
    assert set(norm.state_dict()) == {"gamma", "beta", "mean", "covariance"}


def test_batch_norm_gradients():
    torch.manual_seed(0)
    norm = ComplexBatchNorm2d(2).double()
    z = torch.randn(3, 2, 2, 2, dtype=torch.complex128, requires_grad=True)
    assert torch.autograd.gradcheck(norm, (z,))
