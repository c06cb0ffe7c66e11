"""Frequency layers: what is trained are the frequencies of the rows of a transform, instead of a weight."""

from functools import partial
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.utils import _pair

from checks import require

from ..coded import filled
from .basis import COMPLEX, Basis
from .filters import Filters, Rows

Pair = int | tuple[int, int]
Mode = Literal["zeros", "reflect", "replicate", "circular"]


def _bias(outputs: int, basis: Basis, like: Tensor) -> nn.Parameter:
    """Zeros: noise here, N(0, 1/4) in the published layers, would change the variance of the activations."""
    dtype = like.dtype.to_complex() if basis.kernel in COMPLEX else like.dtype
    return nn.Parameter(torch.zeros(outputs, dtype=dtype, device=like.device))


def _cast(x: Tensor, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """A real x is made complex for a complex weight: its dtype says what it is, never its shape.

    The bias follows the weight, since nn.Module.double() leaves complex parameters as they are.
    """
    bias = None if bias is None else bias.to(weight.dtype)
    return (x.to(weight.dtype) if weight.is_complex() else x), bias


def _check_real(kernel: str) -> None:
    require(kernel not in COMPLEX, "kernel", kernel, "real, for a plain layer is")


class FrequencyLinear(nn.Module):
    """y_k = sum_t W_k(t; f_k) x_t + b_k, trained in the frequencies and the bias, both (out,): 2 out numbers.

    kernel: dct, dst, dht or shannon, real; dft or complex_shannon, complex (3 out numbers).  Rows are those of stage 1
    at integer frequencies and orthonormal at the start where out <= in.  fc (out,) counts from the start in units of
    in^(1/4) bins, and is zero there; see `layers/frequency/basis.py` for formulas.

    Args:
        in_features, out_features, bias: as of nn.Linear.
        kernel: the transform whose rows are the weight.
        device, dtype: of the trained numbers, which are real.

    Raises:
        ValueError: for an unknown kernel.

    Example:
        >>> sum(p.numel() for p in FrequencyLinear(400, 120, kernel="dct").parameters())
        240
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        kernel: str,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.in_features, self.out_features, self.kernel = in_features, out_features, kernel
        self.decoded = Rows(kernel, out_features, in_features)
        dtype = dtype or torch.get_default_dtype()
        self.fc = nn.Parameter(torch.zeros(out_features, device=device, dtype=dtype))
        self.bias = _bias(out_features, self.decoded.channels, self.fc) if bias else None

    @property
    def frequencies(self) -> Tensor:
        """(out,) in bins, float64."""
        return self.decoded.channels.at(self.fc)

    @property
    def weight(self) -> Tensor:
        """(out, in), cached in eval."""
        return self.decoded(self.fc)

    def forward(self, input: Tensor) -> Tensor:
        """input W^T + bias; complex for a complex kernel, with both cross terms of (a + ib)(c + id)."""
        weight = self.weight
        x, bias = _cast(input, weight, self.bias)
        return F.linear(x, weight, bias)

    def materialize(self) -> nn.Module:
        """The plain layer with this weight; ValueError for a complex kernel."""
        _check_real(self.kernel)
        shape = (self.in_features, self.out_features)
        return filled(nn.Linear(*shape, self.bias is not None, device="meta"), self.weight, self.bias)


class FrequencyConv2d(nn.Module):
    """Conv2d with the weight of `Filters`: 2 out + kH + kW + out kH kW numbers, whatever the number of inputs.

    Trained are the frequencies fcc (out,), fch (kH,), fcw (kW,), counted as in FrequencyLinear, delta (out, kH kW),
    drawn with the variance 1 / fan-in of a dense weight, and bias (out,); a complex kernel's bias is complex.

    Args:
        kernel: the transform, as for FrequencyLinear; all else as of nn.Conv2d.

    Raises:
        ValueError: for an unknown kernel or a geometry that nn.Conv2d refuses.

    Example:
        >>> sum(p.numel() for p in FrequencyConv2d(64, 128, 3, kernel="dct").parameters())
        1414
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Pair,
        stride: Pair = 1,
        padding: str | Pair = 0,
        dilation: Pair = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: Mode = "zeros",
        *,
        kernel: str,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        sizes = (in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, padding_mode)
        self._plain = partial(nn.Conv2d, *sizes, device="meta")
        plain = self._plain()  # torch checks the geometry, and knows what it pads
        self.in_channels, self.out_channels, self.groups, self.kernel = in_channels, out_channels, groups, kernel
        self.kernel_size, self.stride = _pair(kernel_size), _pair(stride)
        self.padding: Any = plain.padding  # a pair, or 'same'
        self.dilation, self.padding_mode = _pair(dilation), padding_mode
        self.surround = list(plain._reversed_padding_repeated_twice)
        self.decoded = Filters(kernel, out_channels, in_channels, groups, self.kernel_size)
        dtype = dtype or torch.get_default_dtype()
        height, width = self.kernel_size
        self.fcc, self.fch, self.fcw = (
            nn.Parameter(torch.zeros(count, device=device, dtype=dtype)) for count in (out_channels, height, width)
        )
        spread = (in_channels // groups * height * width) ** -0.5
        self.delta = nn.Parameter(spread * torch.randn(out_channels, height * width, device=device, dtype=dtype))
        self.bias = _bias(out_channels, self.decoded.channels, self.fcc) if bias else None

    @property
    def weight(self) -> Tensor:
        """(out, in / groups, kH, kW), cached in eval."""
        return self.decoded(self.fcc, self.fch, self.fcw, self.delta)

    def forward(self, input: Tensor) -> Tensor:
        """The convolution; complex for a complex kernel, with both cross terms of (a + ib)(c + id)."""
        weight, padding = self.weight, self.padding
        x, bias = _cast(input, weight, self.bias)
        if self.padding_mode != "zeros":
            x, padding = F.pad(x, self.surround, mode=self.padding_mode), 0
        return F.conv2d(x, weight, bias, self.stride, padding, self.dilation, self.groups)

    def materialize(self) -> nn.Module:
        """The plain layer with this weight; ValueError for a complex kernel."""
        _check_real(self.kernel)
        return filled(self._plain(), self.weight, self.bias)
