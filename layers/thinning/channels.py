"""Structured pruning: whole channels taken out of a trained network, which stays one of plain layers, only thinner."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
import torch_pruning
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten

from checks import require

from ..network import answer, check_numbers, check_visible, copy_of, images_of, observing
from .widths import Widths, changed, resize

ROOTS = (nn.Conv2d, nn.Linear)
Kinds = type[nn.Module] | tuple[type[nn.Module], ...]


class Thin(NamedTuple):
    """The thinner network, and the widths of its layers that have lost channels: for `Plan.widths`, to save it."""

    model: nn.Module
    widths: Widths


def prune_channels(model: nn.Module, fraction: float, example: Tensor, kinds: Kinds = nn.Module) -> Thin:
    """Copy the network without the least of its channels: every layer loses this share of its outputs, rounded up.

    Channels that depend on each other, through sums, concatenations and depthwise convolutions, go together: those
    groups of the least squared L2 norm, averaged over the layers that they reach (DepGraph: Fang et al. 2023, by
    torch-pruning).  What the network puts out is not thinned, nor are layers that are summed with a part of another
    layer's channels, as by the padded shortcuts of He et al. for CIFAR.

    Args:
        model: any network, which is left as it is.
        fraction: the share of outputs that each layer loses, from 0 to below 1.
        example: (n, ...), of which one input is traced.  The result is run on it and must answer as the dense network
            does with zeros in the place of these channels; answers may be tensors in dicts, tuples and lists.
        kinds: the kinds of layers that are thinned, among Conv2d and Linear.

    Returns:
        The thinner network and its widths.

    Raises:
        ValueError: for a network that answers differently, that torch-pruning cannot trace, that has no such channels
            or NaN among its weights, for a layer whose width cannot be set, by its name, and for a share that would
            leave a layer no output.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(16, 3))
        >>> prune_channels(net, 0.5, torch.zeros(1, 1, 4, 4)).widths
        {'0': {'out_channels': 2}, '2': {'in_features': 8}}
    """
    require(0 <= fraction < 1, "share of channels to take out", fraction, "at least 0 and below 1")
    check_visible(model)
    check_numbers(model)
    name, x = type(model).__name__, images_of(example, model)[:1].cpu()
    dense = copy_of(model).cpu().eval().requires_grad_(True)  # traced by its gradients, on any device alike
    pruned = copy_of(dense)
    with _tracing(pruned, name):
        history, whole = _take_out(pruned, fraction, x.clone(), kinds)
    widths = changed(dense, pruned)
    for layer, outputs in whole.items():
        allowed = f"small enough to leave layer {layer!r} one of its {outputs}"
        require(fraction == 0, "share of channels to take out", fraction, allowed)
    require(bool(widths) or fraction == 0, "model", name, "one with channels that can be taken out")
    small = resize(copy_of(model), widths)
    _check_widths(small, pruned, name)
    small.load_state_dict(pruned.state_dict())
    with _tracing(dense, name):
        without = _set_to_zero(dense, history, x.clone())
    with observing(pruned), observing(without):
        same = _same(answer(pruned, x), answer(without, x))
    allowed = "one that answers without the channels that torch-pruning takes out as it did with them set to zero"
    require(same, "model", name, allowed)
    return Thin(small, widths)


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


def _take_out(model: nn.Module, fraction: float, x: Tensor, kinds: Kinds) -> tuple[list[Any], dict[str, int]]:
    """Prune in place; return what was done, for torch-pruning, and the layers that it left whole, with their outputs.

    It passes over a layer that would lose all.
    """
    pruner = torch_pruning.pruner.BasePruner(
        model,
        (x,),
        torch_pruning.importance.GroupMagnitudeImportance(p=2),
        pruning_ratio=fraction - 1e-9,  # it keeps int(channels * (1 - ratio)), of 10 * (1 - 0.9) none
        root_module_types=list(ROOTS),
        in_channel_groups={},  # their defaults are dicts that all its pruners would share
        out_channel_groups={},
        num_heads={},
    )
    pruner.ignored_layers += _fixed(pruner.DG, kinds)
    names = {module: name for name, module in model.named_modules()}
    roots = [group[0].dep.target.module for group in pruner.DG.get_all_groups(pruner.ignored_layers, ROOTS)]
    outputs = [pruner.DG.get_out_channels(root) for root in roots]
    pruner.step()
    kept = {names[root]: before for root, before in zip(roots, outputs) if pruner.DG.get_out_channels(root) == before}
    return pruner.pruning_history(), kept


def _fixed(graph: Any, kinds: Kinds) -> list[nn.Module]:
    """List the layers that keep their outputs: of other kinds, at the end, or summed with a part of others."""
    fixed: list[nn.Module] = []
    for group in graph.get_all_groups(root_module_types=ROOTS):
        nodes = [(dep.target, places) for dep, places in group if graph.is_out_channel_pruning_fn(dep.handler)]
        layers = [(node.module, places) for node, places in nodes if isinstance(node.module, ROOTS)]
        end = any(not node.outputs for node, _ in nodes)
        part = any(len(places) != graph.get_out_channels(layer) for layer, places in layers)
        if end or part or not all(isinstance(layer, kinds) for layer, _ in layers):
            fixed += [layer for layer, _ in layers]
    return fixed


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
