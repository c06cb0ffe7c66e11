"""The inputs and outputs of a layer as rows of numbers, at output positions drawn at random.

A convolution is a matrix product at every output position: y_t = W x_t with the patch x_t (inputs x height x width).
Neighbouring positions say nearly the same, so a few per image suffice for second moments, at a fraction of the cost.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from stage3_torch.tensor import syrk

from ..network import Layer, with_batch


class Positions(NamedTuple):
    """Rows and columns (p,) of the output; the same for every image of a batch."""

    rows: Tensor
    columns: Tensor


def draw(layer: Layer, y: Tensor, most: int, generator: torch.Generator) -> Positions | None:
    """Draw at most `most` different positions of a convolution's output (n, o, h, w); None for a Linear layer: all.

    A Linear layer's output (n, ..., o) may have four axes as well: channels last, as in ConvNeXt or Swin.
    """
    if isinstance(layer, nn.Linear):
        return None
    height, width = y.shape[-2:]
    chosen = torch.randperm(height * width, generator=generator)[:most].to(y.device)
    return Positions(chosen // width, chosen % width)


def outputs_at(layer: Layer, y: Tensor, positions: Positions | None) -> Tensor:
    """The outputs as rows (groups, rows, outputs / groups), of y as the layer put it out."""
    y = with_batch(layer, y)
    if isinstance(layer, nn.Linear) or positions is None:
        return y.flatten(0, -2)[None]
    rows = y[:, :, positions.rows, positions.columns].mT.flatten(0, 1)
    return rows.unflatten(1, (layer.groups, -1)).transpose(0, 1)


def inputs_at(layer: Layer, x: Tensor, positions: Positions | None) -> Tensor:
    """Patches (groups, rows, inputs / groups x height x width): what the rows of `outputs_at` are computed from."""
    x = with_batch(layer, x)
    if isinstance(layer, nn.Linear) or positions is None:
        return x.flatten(0, -2)[None]
    x = _padded(layer, x).permute(0, 2, 3, 1)
    rows, columns = (
        at[:, None] * stride + dilation * torch.arange(size, device=x.device)
        for at, stride, dilation, size in zip(positions, layer.stride, layer.dilation, layer.kernel_size)
    )
    cut = x[:, rows[:, :, None], columns[:, None, :]]  # (n, p, height, width, inputs): whole pixels are copied
    cut = cut.flatten(0, 1).flatten(1, 2).unflatten(2, (layer.groups, -1))  # (rows, taps, groups, inputs)
    return cut.permute(2, 0, 3, 1).flatten(2)


def outputs_of(layer: Layer, y: Tensor) -> Tensor:
    """The outputs at every position (n, groups, outputs / groups, positions), of y as the layer put it out."""
    y = with_batch(layer, y)
    if isinstance(layer, nn.Linear):
        return y.reshape(len(y), 1, -1, y.shape[-1]).mT
    return y.flatten(2).unflatten(1, (layer.groups, -1))


def patches(layer: Layer, x: Tensor) -> Tensor:
    """What `outputs_of` is computed from (n, groups, inputs / groups x height x width, positions), a copy."""
    x = with_batch(layer, x)
    if isinstance(layer, nn.Linear):
        return x.reshape(len(x), 1, -1, x.shape[-1]).mT.clone()
    cut = nn.functional.unfold(_padded(layer, x), layer.kernel_size, layer.dilation, stride=layer.stride)
    return cut.unflatten(1, (layer.groups, -1))


def _padded(layer: Any, x: Tensor) -> Tensor:
    mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
    return nn.functional.pad(x, layer._reversed_padding_repeated_twice, mode)


class Joint(NamedTuple):
    """Sums over rows x (groups, rows, m) in float64: x x^T (groups, m, m) and x (groups, m); also y x^T and y."""

    xx: Tensor
    x: Tensor
    yx: Tensor
    y: Tensor


def joint_moments(x: Tensor, y: Tensor) -> Joint:
    """Sum x x^T, y x^T, x and y over rows (..., rows, m) and (..., rows, n), each read once."""
    (a, total), (b, other) = _centred(x), _centred(y)
    xx, yx = _second(syrk(a.mT), total, total, x.shape[-2]), _second(b.mT @ a, other, total, x.shape[-2])
    return Joint(xx, total[..., 0, :], yx, other[..., 0, :])


def own_moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Sum x x^T (..., m, m) and x (..., m) over rows (..., rows, m), read once."""
    rest, total = _centred(x)
    return _second(syrk(rest.mT), total, total, x.shape[-2]), total[..., 0, :]


def second_moment(a: Tensor, b: Tensor | None = None) -> Tensor:
    """a^T b over rows, (..., m, n) in float64; the sum over batches is the caller's.

    The products are in the tensors' dtype, float32 at least, of what the means m and n leave, so that a large mean
    costs the covariance no digits: with A and B the sums over t rows, sum (a - m)^T (b - n) + A^T B / t errs only in
    the square of what m and n are rounded by.
    """
    left, total = _centred(a)
    if b is None:
        return _second(syrk(left.mT), total, total, a.shape[-2])
    right, other = _centred(b)
    return _second(left.mT @ right, total, other, a.shape[-2])


def _second(product: Tensor, a: Tensor, b: Tensor, rows: int) -> Tensor:
    return product.double().add_(a.mT @ b, alpha=1 / rows)


def _centred(a: Tensor) -> tuple[Tensor, Tensor]:
    """Return a less its mean, and the sum of a (..., 1, m) in float64.

    Summed in a's own dtype, ten times as fast: what the mean is rounded by is left in the rows, and their sum has it.
    """
    a = a.to(torch.promote_types(a.dtype, torch.float32))
    mean = a.mean(-2, keepdim=True)
    rest = a - mean
    return rest, rest.sum(-2, keepdim=True).double().add_(mean.double(), alpha=a.shape[-2])
