"""What the loss loses with channels: the predicted rise when the layers that read them do without, as well as they can.

Without the inputs S a layer's weight W is best changed by  D = W_S (H_SS)^-1 H_S:,  H = C^-1:  what the other inputs
know of x_S makes up for it, as least squares on them would (OBS: Hassibi & Stork 1993; for channels GRAIL 2026).  The
loss then rises by about  1/2 tr(G D C D^T) = 1/2 tr(G W_S (H_SS)^-1 W_S^T),  of which (H_SS)^-1 is the Schur complement
of C: the part of x_S that no other input knows.  Taken out one after another, since what is left knows less and less.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from checks import require

from ..calibration import LayerStats, Stats, covariance, observed, ridge, root, shrinkage, shrunk, takes_mean
from .coupled import Coupled

ROUNDS = 64  # in which units are taken out, the cheapest of them at once: exact below that many
RIDGE, DAMPING = 1e-3, 1e-5  # of C, as when layers are refitted; of G


class Path(NamedTuple):
    """The order in which units go, and what is lost with the first 0, 1, 2, ... of them."""

    order: list[int]
    lost: list[float]


class Inputs:
    """A block of the inputs of a layer that reads units: H (k, k), R^T W (o, k), the places (units, s) of S, or -1."""

    def __init__(self, moment: Tensor, weight: Tensor, places: Tensor) -> None:
        self.inverse = torch.cholesky_inverse(torch.linalg.cholesky(moment))
        self.weight, self.places, self.known = weight, places.clamp_min(0), places >= 0

    def losses(self, gone: Tensor) -> Tensor:
        """1/2 tr(W_S^T G W_S (H_SS)^-1) of each unit (units,) alone, those that are gone aside."""
        known = self.known & ~gone[:, None]
        both = known[:, :, None] & known[:, None, :]
        blocks = self.inverse[self.places[:, :, None], self.places[:, None, :]]
        identity = torch.eye(blocks.shape[-1], dtype=blocks.dtype, device=blocks.device)
        columns = self.weight[:, self.places].permute(1, 2, 0) * known[:, :, None]
        factor = torch.linalg.cholesky(torch.where(both, blocks, identity))
        return torch.linalg.solve_triangular(factor, columns, upper=False).square().sum((1, 2)) / 2

    def take_out(self, units: Tensor) -> float:
        """Do without these units; what that loses."""
        places = self.places[units][self.known[units]]
        rows, columns = self.inverse[places], self.weight[:, places]
        by = torch.cholesky_solve(rows, torch.linalg.cholesky(rows[:, places]))  # (H_SS)^-1 H_S:
        loss = float((columns @ torch.linalg.inv(rows[:, places]) * columns).sum()) / 2
        self.weight = self.weight - columns @ by
        self.inverse = self.inverse - rows.mT @ by
        return loss


def removal_path(coupled: Coupled, model: nn.Module, stats: Stats) -> Path:
    """Take units out of all that reads them, those that lose least first; ValueError where a reader has no moments."""
    blocks: list[Inputs] = []
    for name, read in coupled.read.items():
        layer: Any = model.get_submodule(name)
        known = observed(layer) and name in stats.layers
        allowed = "of every layer that reads channels which may go: plain Conv2d and Linear ones"
        require(known, "stats for score loss", f"none of layer {name!r}, {type(layer).__name__}", allowed)
        blocks += _blocks(layer, stats.layers[name], read)
    gone = torch.zeros(coupled.units, dtype=torch.bool)
    order, lost, most = list[int](), [0.0], -(-coupled.units // ROUNDS)
    while len(order) < coupled.units:
        scores = torch.stack([block.losses(gone).cpu() for block in blocks]).sum(0).masked_fill(gone, torch.inf)
        least = scores.topk(min(most, coupled.units - len(order)), largest=False)
        together, apart = sum(block.take_out(least.indices) for block in blocks), least.values.cumsum(0)
        part = apart / apart[-1].clamp_min(torch.finfo(apart.dtype).tiny)
        lost += [lost[-1] + together * float(share) for share in part]
        order += least.indices.tolist()
        gone[least.indices] = True
    return Path(order, lost)


def _gradients(layer: Any, moments: LayerStats) -> Tensor:
    """G (g, o, o); where single images' gradients are known, of the eigenvalues that they have: sum_j lambda_ij / tr C.

    A channel is gone at all positions of an image alike, so that what it changes adds up in the pooling after it.
    """
    outputs = moments.outputs.to("cpu", torch.float64)
    if moments.eigen is None:
        return shrunk(outputs, shrinkage(outputs, moments.rows))
    left, values = (part.to("cpu", torch.float64) for part in (moments.eigen.outputs, moments.eigen.values))
    power = moments.inputs.diagonal(dim1=2, dim2=3).sum((1, 2))
    if takes_mean(layer, moments.norm):  # the eigenvalues are then of inputs less their mean
        power = power - moments.mean.square().sum(1)
    scales = values.sum(2) / power.to("cpu", torch.float64).clamp_min(torch.finfo(torch.float64).tiny)[:, None]
    return (left * scales[:, None, :]) @ left.mT


def _blocks(layer: Any, moments: LayerStats, read: Sequence[Sequence[int]]) -> list[Inputs]:
    """Split what a layer reads into its groups and the blocks that their second moments are kept in."""
    inputs, mean = (moment.to("cpu", torch.float64) for moment in moments[:2])
    if takes_mean(layer, moments.norm):
        inputs = covariance(inputs, mean.unflatten(1, (inputs.shape[1], -1)))
    inputs, outputs = shrunk(inputs, shrinkage(inputs, moments.rows)), _gradients(layer, moments)
    groups, count, size = inputs.shape[:3]
    weight = layer.weight.detach().to("cpu", torch.float64).flatten(1).unflatten(0, (groups, -1))
    whitened = (root(outputs, DAMPING).mT @ weight).unflatten(2, (count, size))
    taps, channels = layer.weight[0, 0].numel(), layer.weight.shape[1]
    columns = torch.arange(channels * taps).view(channels, taps)
    blocks = []
    for group in range(groups):
        own = [[channel % channels for channel in unit if channel // channels == group] for unit in read]
        whole = nn.utils.rnn.pad_sequence([columns[unit].flatten() for unit in own], True, -1)
        for block in range(count):
            inside = torch.where(whole // size == block, whole - block * size, -1)
            if bool((inside >= 0).any()):
                solvable = ridge(inputs[group, block], RIDGE)
                if not bool(solvable.diagonal().mean() > 0):  # no input, nothing to lose
                    solvable = torch.eye(size, dtype=solvable.dtype)
                blocks.append(Inputs(solvable, whitened[group, :, block], inside))
    return blocks
