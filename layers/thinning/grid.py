"""Weights on a uniform grid, a whole number of steps: rounded to the nearest, or so that errors make up for another."""

from typing import Any

import torch
from torch import Tensor

from checks import require

DAMPING = 1e-2  # of the mean of the diagonal of the inputs' moments: directions that calibration hardly saw
AT_ONCE = 128  # entries after which those behind them are told: one product instead of so many
BITS = range(2, 9)  # that a whole number may take


def largest(bits: int) -> int:
    """2^(bits - 1) - 1: whole numbers go from minus this to this, zero among them."""
    require(bits in BITS, "bits", bits, f"a whole number from {BITS[0]} to {BITS[-1]}")
    return int(2 ** (bits - 1) - 1)


def steps(weight: Tensor, bits: int) -> Tensor:
    """max |w| / (2^(bits - 1) - 1) of each filter (o, 1, ...), in the weight's dtype, so that all fit; 1 for zeros."""
    most = weight.detach().flatten(1).abs().amax(1) / largest(bits)
    return torch.where(most > 0, most, 1).reshape(-1, *[1] * (weight.ndim - 1))


def nearest(weight: Tensor, step: Tensor, most: int) -> Tensor:
    """step round(w / step): each weight for itself."""
    return step * (_rounded(weight, step, most) + 0.0)  # + 0: no -0


def compensated(weight: Tensor, step: Tensor, most: int, moments: Tensor, ends_stay: bool = False) -> Tensor:
    """Round so that |(W - W_hat) C^(1/2)|^2 is small: what rounding an entry loses, the entries after it make up for.

    Entries are rounded one after another; with H = C + damping and U upper triangular, U^T U = H^-1, the error e of
    entry i is spread over those after it as e U_i / U_ii, the least squares solution (Optimal Brain Surgeon: Hassibi &
    Stork 1993; by Cholesky: Frantar et al. 2023, GPTQ).  What is zero stays zero.

    Args:
        weight: (groups, o, k).
        step: of a shape that broadcasts to (groups, o, 1), in the dtype in which the result is stored.
        most: the largest whole number.
        moments: (groups, blocks, k / blocks, k / blocks) = E[x x^T] of the layer's inputs.
        ends_stay: entries nearest to +-most steps stay there, so that max |w| of a filter still tells its step.

    Returns:
        step times whole numbers, of the step's dtype.

    Example:
        >>> w, moments = torch.tensor([[[0.4, 0.4]]]), torch.ones(1, 1, 2, 2, dtype=torch.float64)
        >>> nearest(w, torch.ones(1, 1, 1), 7), compensated(w, torch.ones(1, 1, 1), 7, moments)
        (tensor([[[0., 0.]]]), tensor([[[0., 1.]]]))
    """
    blocks = moments.shape[1]
    numbers = [
        _numbers(part, step.double(), most, moments[:, block], ends_stay)
        for block, part in enumerate(weight.double().chunk(blocks, 2))
    ]
    return step * (torch.cat(numbers, 2).to(step.dtype) + 0.0)


def _numbers(left: Tensor, step: Tensor, most: int, moments: Tensor, ends_stay: bool) -> Tensor:
    """The whole numbers of one block (g, o, k)."""
    eye = torch.eye(moments.shape[-1], dtype=torch.float64, device=moments.device)
    mean = moments.diagonal(dim1=-2, dim2=-1).mean(-1)[:, None, None]
    damped = moments + eye * torch.where(mean > 0, DAMPING * mean, 1)
    upper = torch.linalg.cholesky(torch.linalg.inv(damped)).mT
    kept, ends, left = left != 0, _rounded(left, step, most), left.clone()
    held = (ends.abs() == most) & ends_stay
    numbers, errors = torch.empty_like(left), torch.empty_like(left)
    for start in range(0, left.shape[2], AT_ONCE):
        stop = min(start + AT_ONCE, left.shape[2])
        for i in range(start, stop):
            entry, at = left[..., i : i + 1], slice(i, i + 1)
            number = _rounded(entry, step, most) * kept[..., at]
            numbers[..., at] = torch.where(held[..., at], ends[..., at], number)
            errors[..., at] = (entry - step * numbers[..., at]) / upper[:, at, at]
            left[..., i:stop] -= errors[..., at] * upper[:, at, i:stop]
        left[..., stop:] -= errors[..., start:stop] @ upper[:, start:stop, stop:]
    return numbers


def _rounded(weight: Tensor, step: Tensor, most: int) -> Tensor:
    return (weight / step).round().clamp(-most, most)


def put(layer: Any, weight: Tensor, rounded: Tensor, mean: Tensor | None) -> None:
    """Give a layer its rounded weight; its bias, if it has one, takes over what that changes of the mean output.

    Args:
        layer: a convolution or Linear layer, which is changed.
        weight, rounded: (groups, o, k), as it was and as it shall be.
        mean: (groups, k) of the layer's inputs; None leaves the bias as it is.
    """
    if mean is not None and isinstance(layer.bias, Tensor):
        lost = (weight.double() - rounded.double()) @ mean[..., None]
        layer.bias.data += lost.flatten().to(layer.bias)
    layer.weight.data.copy_(rounded.reshape(layer.weight.shape))
