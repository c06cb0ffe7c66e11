"""Structured pruning: whole channels taken out of a trained network, which stays one of plain layers, only thinner."""

import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
import torch_pruning
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten

from checks import require

from ..calibration import Stats
from ..costs import trace
from ..network import Progress, answer, check_numbers, check_visible, copy_of, ignored, images_of, observing
from .coupled import Graph, Kinds
from .importance import CHANNEL_SCORES, Shown
from .left import note_lost
from .shares import by_macs, by_share
from .widths import Widths, changed, resize


class Thin(NamedTuple):
    """The thinner network, and the widths of its layers that have lost channels: for `Plan.widths`, to save it."""

    model: nn.Module
    widths: Widths


def prune_channels(
    model: nn.Module,
    fraction: float | None,
    example: Tensor,
    kinds: Kinds = nn.Module,
    *,
    macs: float | None = None,
    score: str = "l2",
    round: int = 16,
    stats: Stats | None = None,
    batches: Iterable[Any] | None = None,
    seed: int = 0,
    progress: Progress = ignored,
) -> Thin:
    """Copy the network without the least of its channels: a share of every layer's, or what a share of the MACs leaves.

    Channels that depend on each other, through sums, concatenations and depthwise convolutions, go together (DepGraph:
    Fang et al. 2023, by torch-pruning).  What the network puts out is not thinned, nor are layers that are summed with
    a part of another layer's channels, as by the padded shortcuts of He et al. for CIFAR.  The weights that are left
    are as they were: `refit` makes them up for what went.

    Scores, of which the least go first:
    l1, l2: the sum of |w| or w^2 of a channel's weights, averaged over the layers that it reaches;
    taylor: |sum w dloss/dw| of the weights that compute it, averaged over the images of `batches` (Molchanov et al.
    2019), with their labels where there are some, else with labels drawn from the network's own softmax;
    loss: the predicted rise of the loss, by the moments that `calibrate` saw, when the layers that read the channels
    do without them as well as the other inputs let them.

    Args:
        model: any network, which is left as it is.
        fraction: the share of outputs that each layer loses, from 0 to below 1; None with `macs`.
        example: (n, ...), of which one input is traced.  The result is run on it and must answer as the dense network
            does with zeros in the place of these channels; answers may be tensors in dicts, tuples and lists.
        kinds: the kinds of layers that are thinned, among Conv2d and Linear.
        macs: the share of the network's multiply-accumulates that is left at most, above 0 and up to 1: layers lose
            channels in the order of their score for each multiply-accumulate, so that some lose more than others.
        score: l1, l2, taylor or loss.
        round: widths that are left are multiples of it, in layers of at least four times as many outputs; in narrower
            ones of its half, quarter, ... .  Runtimes compute in blocks of 8 or 16 channels: odd numbers cost time.
        stats: for score loss.
        batches: for score taylor: images, or (images, labels).
        seed: of the labels that are drawn.
        progress: called with the name of each layer whose channels have been put in order.

    Returns:
        The thinner network and its widths.

    Raises:
        ValueError: for a network that answers differently, that torch-pruning cannot trace, that has no such channels
            or NaN among its weights, for a layer whose width cannot be set, by its name, for a share that would leave
            a layer no output or the network too few MACs, and for a score without what it needs.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(16, 3))
        >>> prune_channels(net, 0.5, torch.zeros(1, 1, 4, 4)).widths
        {'0': {'out_channels': 2}, '2': {'in_features': 8}}
    """
    whole = _check_options(fraction, macs, score, round)
    check_visible(model)
    check_numbers(model)
    name, x = type(model).__name__, images_of(example, model)[:1].cpu()
    order = CHANNEL_SCORES[score](model, Shown(stats, batches, seed))
    dense = copy_of(model).cpu().eval().requires_grad_(True)  # traced by its gradients, on any device alike
    pruned = copy_of(dense)
    with _tracing(pruned, name):
        graph = Graph(pruned, x.clone())
        groups = graph.coupled(kinds)
    require(bool(groups) or whole, "model", name, "one with channels that can be taken out")
    paths = []
    for coupled in groups:
        paths.append(order(coupled))
        for layer in coupled.written:
            progress(layer)
    if macs is None:
        lost = by_share(groups, fraction or 0.0, round)
    else:
        lost = by_macs(dense, groups, paths, trace(dense, x), macs, round)
    require(any(lost) or whole, *_nothing_lost(fraction, macs, round))
    gone = {coupled.root: path.order[:count] for coupled, path, count in zip(groups, paths, lost) if count}
    with _tracing(pruned, name):
        for coupled in groups:
            if coupled.root in gone:
                graph.take_out(coupled, gone[coupled.root])
    widths = changed(dense, pruned)
    small = resize(copy_of(model), widths)
    _check_widths(small, pruned, name)
    small.load_state_dict(pruned.state_dict())
    with _tracing(dense, name):
        without = _set_to_zero(dense, graph.history(), x.clone())
    with observing(pruned), observing(without):
        same = _same(answer(pruned, x), answer(without, x))
    allowed = "one that answers without the channels that torch-pruning takes out as it did with them set to zero"
    require(same, "model", name, allowed)
    note_lost(small, model, {coupled: gone[coupled.root] for coupled in groups if coupled.root in gone})
    return Thin(small, widths)


def _check_options(fraction: float | None, macs: float | None, score: str, round: int) -> bool:
    """Refuse what cannot be meant; whether nothing is to be taken out."""
    require(
        (fraction is None) != (macs is None), "fraction and macs", (fraction, macs), "one of them, and the other None"
    )
    require(fraction is None or 0 <= fraction < 1, "share of channels to take out", fraction, "at least 0 and below 1")
    require(macs is None or 0 < macs <= 1, "macs", macs, "above 0 and at most 1")
    require(score in CHANNEL_SCORES, "score", score, f"one of {', '.join(CHANNEL_SCORES)}")
    require(type(round) is int and round >= 1, "round", round, "an integer from 1")
    return fraction == 0 or macs == 1


def _nothing_lost(fraction: float | None, macs: float | None, round: int) -> tuple[str, float | None, str]:
    """Return argument, value and what is allowed, of a share that is rounded to nothing."""
    if macs is not None:
        return "macs", macs, "small enough to take out channels"
    return "share of channels to take out", fraction, f"large enough to leave a layer another multiple (round={round})"


@contextmanager
def _tracing(model: nn.Module, name: str) -> Iterator[None]:
    """Trace with gradients, which torch-pruning follows; what it cannot do raises anything: here one sentence."""
    try:
        with warnings.catch_warnings(), observing(model, gradients=True):
            warnings.simplefilter("ignore")  # of operations that it guesses about: the result is checked
            yield
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(f"model must be one that torch-pruning can trace, got {name} ({reason})") from error


def _check_widths(small: nn.Module, pruned: nn.Module, name: str) -> None:
    """Refuse a network in which anything lost channels but the layers whose widths can be set, and name it."""
    wanted = small.state_dict()
    for key, tensor in pruned.state_dict().items():
        if isinstance(tensor, Tensor) and tensor.shape != wanted[key].shape:
            owner = key.rpartition(".")[0]
            kind = type(pruned.get_submodule(owner)).__name__
            got = f"{name}, whose {f'{kind} {owner!r}' if owner else f'parameter {key!r}'} would lose some as well"
            allowed = "Conv2d, ConvTranspose2d without groups, Linear and BatchNorm layers"
            raise ValueError(f"model must be one in which only {allowed} lose channels, got {got}")


def _same(got: Any, wanted: Any) -> bool:
    """Whether two answers hold nearly the same numbers, in the same dicts, tuples and lists."""
    (got_leaves, got_structure), (leaves, structure) = tree_flatten(got), tree_flatten(wanted)
    return got_structure == structure and all(map(_close, got_leaves, leaves))


def _close(got: Any, wanted: Any) -> bool:
    if not isinstance(wanted, Tensor):
        return type(got) is type(wanted)
    atol = 1e-4 * float(wanted.nan_to_num().abs().max()) if wanted.numel() else 0.0
    return got.shape == wanted.shape and torch.allclose(got, wanted, rtol=1e-3, atol=atol, equal_nan=True)


def _set_to_zero(dense: nn.Module, history: list[Any], x: Tensor) -> nn.Module:
    """Set the weights of the dense network to zero, in place, that were taken out: a numbered copy tells which."""
    numbered = copy_of(dense)
    graph = torch_pruning.DependencyGraph().build_dependency(numbered, (x,))
    with torch.no_grad():
        for parameter in numbered.double().parameters():
            parameter.copy_(torch.arange(parameter.numel()).view_as(parameter))
        graph.load_pruning_history(history)
        for parameter, left in zip(dense.parameters(), numbered.parameters()):
            kept = torch.zeros(parameter.numel(), dtype=parameter.dtype)
            kept[left.flatten().long()] = 1
            parameter.mul_(kept.view_as(parameter))
    return dense
