"""What a complex network needs beside its layers: activations, pooling, normalisation and a real end.

For networks of your own with FrequencyConv2d and FrequencyLinear of kernel dft or complex_shannon.  No command uses
them: `--frequency` puts the real Hartley transform into real networks instead.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

EPSILON = 1e-6  # keeps the derivative of |z| finite at 0; below what float32 resolves of numbers of order one


def magnitude(z: Tensor) -> Tensor:
    """sqrt(Re^2 + Im^2 + eps^2): |z| with a derivative at 0, which is 0."""
    return (z.real.square() + z.imag.square() + EPSILON**2).sqrt()


class Magnitude(nn.Module):
    """The real end of a complex network: |z|, smooth at 0.

    Example:
        >>> Magnitude()(torch.tensor([3 + 4j]))
        tensor([5.])
    """

    def forward(self, z: Tensor) -> Tensor:
        """Real, as z."""
        return magnitude(z)


class Cardioid(nn.Module):
    """(1 + cos arg z) / 2 z: the relu on the real axis, phases kept, the left half damped (Virtue et al. 2017).

    Example:
        >>> [round(float(z.abs()), 3) for z in Cardioid()(torch.tensor([2 + 0j, 2j, -2 + 0j]))]
        [2.0, 1.0, 0.0]
    """

    def forward(self, z: Tensor) -> Tensor:
        """cos arg z = Re z / |z|."""
        return z * (0.5 * (1 + z.real / magnitude(z)))


class ConcatenatedReLU(nn.Module):
    """relu(Re z) + i relu(-Im z): an activation of each part; the sign is that of the dft's exp(-i x).

    Example:
        >>> ConcatenatedReLU()(torch.tensor([1 - 2j, -1 + 2j]))
        tensor([1.+2.j, 0.+0.j])
    """

    def forward(self, z: Tensor) -> Tensor:
        """Complex, as z."""
        return torch.complex(F.relu(z.real), F.relu(-z.imag))


class ComplexMaxPool2d(nn.Module):
    """In each window the number of largest magnitude, its phase kept; arguments as of nn.MaxPool2d.

    Example:
        >>> ComplexMaxPool2d(2)(torch.tensor([[[[1 + 0j, 3j], [2 + 0j, 0j]]]])).flatten()
        tensor([0.+3.j])
    """

    def __init__(self, kernel_size: int, stride: int | None = None, padding: int = 0) -> None:
        super().__init__()
        self.kernel_size, self.stride, self.padding = kernel_size, stride, padding

    def forward(self, z: Tensor) -> Tensor:
        """(batch, channels, h, w) complex."""
        size = z.real.square() + z.imag.square()
        _, index = F.max_pool2d(size, self.kernel_size, self.stride, self.padding, return_indices=True)
        return z.flatten(2).gather(2, index.flatten(2)).reshape(index.shape)


class ComplexAvgPool2d(nn.Module):
    """The mean of each window; arguments as of nn.AvgPool2d.

    Example:
        >>> ComplexAvgPool2d(2)(torch.tensor([[[[1 + 0j, 3j], [2 + 0j, 1j]]]])).flatten()
        tensor([0.7500+1.j])
    """

    def __init__(self, kernel_size: int, stride: int | None = None, padding: int = 0) -> None:
        super().__init__()
        self.pool = nn.AvgPool2d(kernel_size, stride, padding)

    def forward(self, z: Tensor) -> Tensor:
        """(batch, channels, h, w) complex."""
        return torch.complex(self.pool(z.real), self.pool(z.imag))


class ComplexBatchNorm2d(nn.Module):
    """gamma V^(-1/2) (z - mean) + beta, V the 2 x 2 covariance of (Re, Im) per channel (Trabelsi et al. 2018, 3.5).

    After whitening both parts have variance 1 and no correlation; gamma, symmetric 2 x 2, begins at 1/sqrt 2 on its
    diagonal, so that |z|^2 has mean 1.  (Normalising each part alone leaves the distribution elliptical.)

    Example:
        >>> z = torch.complex(*torch.randn(2, 64, 3, 8, 8))
        >>> bool((ComplexBatchNorm2d(3)(z).abs().square().mean() - 1).abs() < 1e-3)
        True
    """

    mean: Tensor  # (channels,) complex
    covariance: Tensor  # (3, channels): rr, ri, ii

    def __init__(self, channels: int, eps: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__()
        self.eps, self.momentum = eps, momentum
        self.gamma = nn.Parameter(torch.tensor([0.5**0.5, 0.0, 0.5**0.5])[:, None].repeat(1, channels))
        self.beta = nn.Parameter(torch.zeros(2, channels))
        self.register_buffer("mean", torch.zeros(2, channels))
        self.register_buffer("covariance", torch.tensor([0.5, 0.0, 0.5])[:, None].repeat(1, channels))

    def _statistics(self, parts: Tensor) -> tuple[Tensor, Tensor]:
        """Mean (2, channels) and covariance (3, channels) of parts (2, batch, channels, h, w); running ones in eval."""
        if not self.training:
            return self.mean, self.covariance
        mean = parts.mean((1, 3, 4))
        real, imaginary = parts - mean[:, None, :, None, None]
        products = [real.square(), real * imaginary, imaginary.square()]
        covariance = torch.stack([product.mean((0, 2, 3)) for product in products])
        with torch.no_grad():
            count = parts[0].numel() // parts.shape[2]
            self.mean.lerp_(mean, self.momentum)
            self.covariance.lerp_(covariance * (count / max(1, count - 1)), self.momentum)
        return mean, covariance

    def forward(self, z: Tensor) -> Tensor:
        """(batch, channels, h, w) complex."""
        parts = torch.stack([z.real, z.imag])
        mean, (rr, ri, ii) = self._statistics(parts)
        rr, ii = rr + self.eps, ii + self.eps
        # V^(-1/2) = ((ii + s, -ri), (-ri, rr + s)) / (s t), s = sqrt det V, t = sqrt(tr V + 2 s)
        s = (rr * ii - ri.square()).sqrt()
        scale = 1 / (s * (rr + ii + 2 * s).sqrt())
        whiten = torch.stack([torch.stack([ii + s, -ri]), torch.stack([-ri, rr + s])]) * scale
        gamma = torch.stack([self.gamma[:2], self.gamma[1:]])
        matrix = torch.einsum("ijc,jkc->ikc", gamma, whiten)
        shift = self.beta - torch.einsum("ijc,jc->ic", matrix, mean)
        y = torch.einsum("ijc,jbchw->ibchw", matrix, parts) + shift[:, None, :, None, None]
        return torch.complex(y[0], y[1])
