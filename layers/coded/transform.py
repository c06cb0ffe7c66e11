"""Transform layers: the weight is the inverse transform of the few coefficients that are kept and trained."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from checks import require

from ..loader import Tables, decode, lowest, positions, sorted_back
from .ordering import narrow, smooth_order
from .parametrisation import Decoded
from .spectrum import analyse, check_transform, synthesise
from .tables import tables

SELECTIONS = ("magnitude", "lowest")


def pack(mask: Tensor) -> Tensor:
    """A flat boolean mask as bytes, first element in the lowest bit; 1/32 of the float32 weight it belongs to."""
    bits = F.pad(mask.to(torch.uint8), (0, -mask.numel() % 8)).reshape(-1, 8)
    return (bits << torch.arange(8, device=mask.device, dtype=torch.uint8)).sum(1, dtype=torch.uint8)


class Transform(Decoded):
    """weight = inverse transform along `axes` of `keep` coefficients, the others being zero.

    select="magnitude" keeps the largest ones of the weight's own transform: by orthonormality (Parseval) the choice
    with the least squared error; one bit per weight is saved for their positions.  select="lowest" keeps the lowest
    frequencies, by the sum over axes of squares as in an ellipse around zero; positions follow from the shape and are
    not saved.  In eval mode loader.py decodes, so that what it reads elsewhere has the same bits.

    Args:
        name: a real orthonormal transform: dct, dst, dht, dwt or shannon.
        keep: how many coefficients are kept and trained.
        axes: the axes of the weight to transform: 0 output channels, 1 input channels, 2 and 3 height and width.
        select: "magnitude" or "lowest".
        order: whether to sort the channels for smoothness before the transform; the permutations are saved, and undone
            after decoding.  Only channel axes (0 and 1) among `axes` are sorted.
        wavelet: of the dwt, haar if it is None.
        levels: of the dwt; an axis takes as many as it can if it is None.

    Raises:
        ValueError: for arguments that are none of these; from `code`, for a `keep` that is not 1 to the number of
            weights.

    Example:
        >>> from layers import code
        >>> layer = code(torch.nn.Conv2d(3, 8, 3), Transform("dct", keep=72, axes=(2, 3)))
        >>> layer.weight.shape, layer.parametrizations.weight.original0.shape
        (torch.Size([8, 3, 3, 3]), torch.Size([72]))
    """

    mask: Tensor | None  # (ceil(n / 8),) uint8, saved where positions depend on the weight
    index: Tensor  # (keep,) flat positions, derived
    order_0: Tensor | None  # place -> output channel, saved
    order_1: Tensor | None  # place -> input channel, saved

    def __init__(
        self,
        name: str,
        keep: int,
        axes: Sequence[int],
        select: str = "magnitude",
        order: bool = False,
        wavelet: str | None = None,
        levels: int | None = None,
    ) -> None:
        super().__init__()
        check_transform(name, wavelet)
        require(select in SELECTIONS, "select", select, f"one of {', '.join(SELECTIONS)}")
        require(not order or bool({0, 1} & set(axes)), "order", order, f"False without 0 or 1 in axes {axes}")
        self.name, self.keep, self.axes = name, keep, tuple(axes)
        self.select, self.order, self.wavelet, self.levels = select, order, wavelet, levels
        for buffer in ("mask", "order_0", "order_1"):
            self.register_buffer(buffer, None)
        self.register_buffer("index", None, persistent=False)
        self.register_load_state_dict_post_hook(lambda module, _: module._derive())

    def _derive(self) -> None:
        if self.mask is not None:
            self.index = positions(self.mask, self.shape.numel())
            require(len(self.index) == self.keep, "ones in the mask", len(self.index), f"{self.keep}, the values kept")
        for order in (self.order_0, self.order_1):
            if order is not None:
                whole = torch.equal(order.long().sort().values, torch.arange(len(order), device=order.device))
                require(whole, "order", f"{len(order)} numbers", "each place once")
        self._cache = None

    def spectrum(self, weight: Tensor) -> Tensor:
        """Transform the weight, its channels sorted if asked for; sets the permutations."""
        self.shape = weight.shape
        y = weight
        for axis in (0, 1):
            if self.order and axis in self.axes:
                order = smooth_order(weight, axis)
                setattr(self, f"order_{axis}", narrow(order))
                y = y.index_select(axis, order)
        for axis in self.axes:
            y = analyse(y, self.name, axis, self.wavelet, self.levels)
        return y

    def right_inverse(self, weight: Tensor) -> tuple[Tensor]:
        """Encode the weight as `keep` coefficients; sets their positions."""
        require(1 <= self.keep <= weight.numel(), "keep", self.keep, f"1 to {weight.numel()}")
        y = self.spectrum(weight).flatten()
        if self.select == "lowest":
            self.index = lowest(self.name, self.shape, self.axes, self.keep, self.levels).to(y.device)
        else:
            self.index = y.abs().topk(self.keep).indices.sort().values
            self.mask = pack(torch.zeros_like(y, dtype=torch.bool).scatter_(0, self.index, True))
        return (y.gather(0, self.index),)

    def coefficients(self, values: Tensor) -> Tensor:
        """Place the values in the shape of the weight; written in place, where `scatter` would copy the zeros."""
        return values.new_zeros(self.shape.numel()).scatter_(0, self.index, values).reshape(self.shape)

    def decode(self, *arrays: Tensor) -> Tensor:
        """Scatter the coefficients, invert the transform axis by axis, put the channels back.

        In training by the fast functions of stage 3; in eval, where the weight is cached, as loader.py does.
        """
        (values,) = arrays
        orders = self.order_0, self.order_1
        if not (self.training or torch.compiler.is_compiling()):
            return decode(values, self.index, self.shape, self.name, self.axes, self.tables(), self.levels, orders)
        y = self.coefficients(values)
        for axis in reversed(self.axes):
            y = synthesise(y, self.name, axis, self.wavelet, self.levels)
        return sorted_back(y, *orders)

    def tables(self) -> list[Tables]:
        """Return what loader.py looks up to invert the transform, for one axis after the other."""
        return [tables(self.name, self.shape[axis], self.wavelet, self.levels) for axis in self.axes]

    def linear(self, x: Tensor, values: Tensor) -> Tensor:
        """x W^T of the (out, in) weight W = T_0^T Y T_1 without building W: x to the frequencies, Y, and back.

        Transforms a batch of vectors where `decode` transforms as many vectors as there are channels.
        """
        axes = [axis % 2 for axis in self.axes]
        if self.order_1 is not None:
            x = x.index_select(-1, self.order_1.long())
        if 1 in axes:
            x = analyse(x, self.name, -1, self.wavelet, self.levels)
        y = F.linear(x, self.coefficients(values))
        if 0 in axes:
            y = synthesise(y, self.name, -1, self.wavelet, self.levels)
        return y if self.order_0 is None else y.index_select(-1, self.order_0.long().argsort())
