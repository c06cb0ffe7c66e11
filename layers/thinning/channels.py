"""Structured pruning: whole channels taken out of a trained network, which stays one of plain layers, only thinner."""

import copy
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
import torch_pruning
from torch import Tensor, nn

from checks import require

from ..network import evaluating
from .widths import Widths, changed, resize

ROOTS = (nn.Conv2d, nn.Linear)
Kinds = type[nn.Module] | tuple[type[nn.Module], ...]


class Thin(NamedTuple):
    """The thinner network, and the widths of its layers that have lost channels: for `Plan.widths`, to save it."""

    model: nn.Module
    widths: Widths


def prune_channels(model: nn.Module, fraction: float, example: Tensor, kinds: Kinds = nn.Module) -> Thin:
    """A new network whose layers have lost this share of their outputs, rounded up; the given one is untouched.

    Channels that depend on each other, through sums, concatenations and depthwise convolutions, go together: those
    groups of the least squared L2 norm, averaged over the layers that they reach (DepGraph: Fang et al. 2023, by
    torch-pruning).
    What the network puts out is not thinned, nor are layers of other `kinds`, nor those that are summed with a part of
    another layer's channels, as by the padded shortcuts of He et al. for CIFAR.

    example (n, ...): one input is traced.  The result is run on it and must answer as the dense network without these
    channels does; ValueError if it does not, for a network that torch-pruning cannot trace or that has no such
    channels, and for a share that would leave a layer none.
    """
    require(0 <= fraction < 1, "share of channels to take out", fraction, "at least 0 and below 1")
    name, x = type(model).__name__, example[:1].cpu()
    dense = copy.deepcopy(model).cpu().eval().requires_grad_(True)  # traced by its gradients, on any device alike
    pruned = copy.deepcopy(dense)
    with _tracing(name):
        history, whole = _take_out(pruned, fraction, x, kinds)
        widths = changed(dense, pruned)
    for layer, outputs in whole.items():
        allowed = f"small enough to leave layer {layer!r} one of its {outputs}"
        require(fraction == 0, "share of channels to take out", fraction, allowed)
    require(bool(widths) or fraction == 0, "model", name, "one with channels that can be taken out")
    small = resize(copy.deepcopy(model), widths)
    with _tracing(name):
        small.load_state_dict(pruned.state_dict())
        without = _set_to_zero(dense, history, x)
        with evaluating(pruned), evaluating(without):
            got, wanted = pruned(x), without(x)
        atol = 1e-4 * float(wanted.abs().max())
        same = got.shape == wanted.shape and torch.allclose(got, wanted, rtol=1e-3, atol=atol, equal_nan=True)
    allowed = "one that answers without the channels that torch-pruning takes out as it did with them set to zero"
    require(same, "model", name, allowed)
    return Thin(small, widths)


@contextmanager
def _tracing(name: str) -> Iterator[None]:
    """With gradients, which torch-pruning follows; what it cannot do raises anything, which becomes one sentence."""
    try:
        with warnings.catch_warnings(), torch.enable_grad():
            warnings.simplefilter("ignore")  # of operations that it guesses about: the result is checked
            yield
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(f"model must be one that torch-pruning can trace, got {name} ({reason})") from error


def _take_out(model: nn.Module, fraction: float, x: Tensor, kinds: Kinds) -> tuple[list[Any], dict[str, int]]:
    """Prune in place; what was done, in torch-pruning's words, and the layers that it left whole, with their outputs.

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
    """The layers that keep their outputs: of other kinds, at the network's end, or summed with a part of others."""
    found: list[nn.Module] = []
    for group in graph.get_all_groups(root_module_types=ROOTS):
        nodes = [(dep.target, places) for dep, places in group if graph.is_out_channel_pruning_fn(dep.handler)]
        layers = [(node.module, places) for node, places in nodes if isinstance(node.module, ROOTS)]
        end = any(not node.outputs for node, _ in nodes)
        part = any(len(places) != graph.get_out_channels(layer) for layer, places in layers)
        if end or part or not all(isinstance(layer, kinds) for layer, _ in layers):
            found += [layer for layer, _ in layers]
    return found


def _set_to_zero(dense: nn.Module, history: list[Any], x: Tensor) -> nn.Module:
    """The dense network, in place, with zeros where weights were taken out: those that a numbered copy has lost."""
    numbered = copy.deepcopy(dense)
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
