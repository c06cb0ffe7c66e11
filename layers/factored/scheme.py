"""What a low-rank scheme says of itself, and what all schemes ask of a layer."""

import copy
import math
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from ..network import Layer, is_plain
from .compose import grouped
from .specs import Form, Spec

LARGE = 2**18  # weights from which on a layer is decomposed at half as many ranks, and in fewer sweeps
SAFE = 2.0**40  # weights below it and above its inverse have squares, and products of a few, in every dtype's range


class Shape(NamedTuple):
    """One factor: channels in and out, and which of the convolution's two spatial axes it works on."""

    inputs: int
    outputs: int
    height: bool = False
    width: bool = False
    groups: int = 1


class Scheme(Protocol):
    """One way to write a layer as a sequence of a few plain layers; CHANNEL, SPATIAL, TUCKER, JOINT, SEPARABLE and HT.

    For a new one write a NamedTuple with these methods, and give it a row in `layers.planning.METHODS`.  A scheme that
    splits the inputs of a Linear layer in two, say, and keeps r channels of the first half:

        class HalfScheme(NamedTuple):
            kernel: str  # its name in METHODS

            def refusal(self, layer):
                return None if is_plain(layer, nn.Linear) else f"{type(layer).__name__} is not a plain Linear"

            def check(self, layer, spec):
                check_keys(spec, "rank")
                check_count(spec["rank"], "rank", min(layer.weight.shape))

            def candidates(self, layer, multiple=1):  # from the smallest to the largest, which is exact
                ranks = grid(min(layer.weight.shape), multiple)
                return [Form(self.kernel, {"rank": r}, error=share_of_energy_lost(layer, r)) for r in ranks]

            def sides(self, layer):  # one matrix for each rank of a spec; leading axis: groups
                return [layer.weight.detach()[None]]

            def at_ranks(self, layer, ranks):
                return {"rank": ranks[0]}

            def shapes(self, layer, spec):
                return [Shape(layer.in_features, spec["rank"]), Shape(spec["rank"], layer.out_features)]

            def weights(self, layer, spec):  # one tensor for each shape
                return [first_factor, last_factor]

    The first and the last factor must each work on inputs and on outputs alone: the fit in the metric of the loss
    whitens them (`layers.fitting.Whitening`).  Add the row; the tests go over METHODS.
    """

    @property
    def kernel(self) -> str:
        """Name of its row in METHODS."""

    def refusal(self, layer: nn.Module) -> str | None:
        """Say why the layer cannot take this scheme, or None."""

    def check(self, layer: Layer, spec: Spec) -> None:
        """Raise ValueError for a spec that the layer cannot take."""

    def candidates(self, layer: Layer, multiple: int = 1) -> list[Form]:
        """Offer forms from the smallest to full rank, ranks being multiples of `multiple` or full."""

    def sides(self, layer: Layer) -> list[Tensor]:
        """Return the matricisations (groups, m, n) whose ranks make a spec."""

    def at_ranks(self, layer: Layer, ranks: Sequence[int]) -> Spec:
        """Return the spec of these ranks of the `sides`."""

    def shapes(self, layer: Layer, spec: Spec) -> list[Shape]:
        """Return the factors, in the order in which they are applied."""

    def weights(self, layer: Layer, spec: Spec) -> list[Tensor]:
        """Return the factors' weights, with axes in the order outputs, inputs, height, width."""


def candidates(scheme: Scheme, layer: Layer, multiple: int = 1) -> list[Form]:
    """Return the scheme's forms of a layer whose weight may be of any size: shares of its energy know no unit."""
    return scheme.candidates(in_range(layer)[0], multiple)


def weights(scheme: Scheme, layer: Layer, spec: Spec, single: bool = False) -> list[Tensor]:
    """Return the scheme's factors of a layer whose weight may be of any size, the size shared out among them.

    single: compute in float32, in half the time, where they are a beginning that a fit goes on from.
    """
    near, exponent = in_range(layer)
    if single:
        factors = [w.to(layer.weight.dtype) for w in scheme.weights(copy.deepcopy(near).float(), spec)]
    else:
        factors = scheme.weights(near, spec)
    if not exponent:
        return factors
    share, rest = divmod(exponent, len(factors))
    return [factor * 2.0 ** (share + (number < rest)) for number, factor in enumerate(factors)]


def in_range(layer: Layer) -> tuple[Layer, int]:
    """(layer, 0), or a copy of it with the weight times 2^-k and k, where squares of the weight might leave the range.

    A power of two: nothing is rounded.  NaN and infinity stay what they are.
    """
    largest = float(layer.weight.detach().abs().max())
    if largest == 0 or 1 / SAFE <= largest <= SAFE or not math.isfinite(largest):
        return layer, 0
    exponent = math.frexp(largest)[1]
    near = copy.deepcopy(layer)
    near.weight.data = torch.ldexp(near.weight.data, torch.tensor(-exponent, device=near.weight.device))
    return near, exponent


def matrix_refusal(layer: nn.Module, spatial: bool) -> str | None:
    """Say why the weight has fewer modes than a tensor decomposition needs (three; four with `spatial`), or None."""
    if is_plain(layer, nn.Linear):
        return "a Linear layer is a matrix, which svd decomposes"
    if not isinstance(layer, nn.Conv2d) or not is_plain(layer, nn.Conv2d):
        return f"{type(layer).__name__} is not a plain Conv2d"
    height, width = layer.kernel_size
    if height == width == 1:
        return "a 1x1 kernel is a matrix, which svd decomposes"
    if layer.in_channels == layer.groups:
        return "a filter has one input channel (depthwise), so there is no more to take apart than svd and spatial do"
    if spatial and 1 in layer.kernel_size:
        return f"a {height}x{width} kernel has no two spatial axes to separate"
    return None


def unfoldings(layer: Layer) -> list[Tensor]:
    """Return the unfoldings by outputs (g, o, i h w) and by inputs (g, i, o h w)."""
    w = grouped(layer)
    return [w.flatten(2), w.transpose(1, 2).flatten(2)]


def balanced(weights: Sequence[Tensor]) -> list[Tensor]:
    """Return the same product with factors of the same norm, so that gradients reach them at the same scale."""
    norms = torch.stack([torch.linalg.vector_norm(w, dtype=torch.float64) for w in weights])
    mean = norms.prod() ** (1 / len(weights))
    if not mean > 0:
        return list(weights)
    return [w * (mean / norm).to(w.dtype) for w, norm in zip(weights, norms)]
