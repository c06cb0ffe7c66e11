"""Channels that go together: the groups of layers that torch-pruning finds coupled, and what each of them reaches."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch_pruning
from torch import Tensor, nn

ROOTS = (nn.Conv2d, nn.Linear)
Kinds = type[nn.Module] | tuple[type[nn.Module], ...]
Places = dict[str, list[list[int]]]  # layer -> unit -> the outputs or inputs of that layer that go with it


@dataclass(frozen=True, eq=False)
class Coupled:
    """A unit is what goes at once: a channel wherever it reaches, or with `repeats` groups one channel of each.

    Layers have `written` outputs for each unit and `read` inputs; a depthwise convolution writes what it reads.
    """

    root: str
    repeats: int
    written: Places
    read: Places
    group: Any  # torch-pruning's

    @property
    def units(self) -> int:
        """How many there are."""
        return len(self.written[self.root])

    def channels(self, units: Sequence[int]) -> list[int]:
        """Return the root's outputs that go with these units."""
        return sorted(place for unit in units for place in self.written[self.root][unit])


class Graph:
    """What depends on what in a network, which is pruned in place."""

    def __init__(self, model: nn.Module, x: Tensor) -> None:
        pruner = torch_pruning.pruner.BasePruner(
            model,
            (x,),
            torch_pruning.importance.GroupMagnitudeImportance(),
            root_module_types=list(ROOTS),
            in_channel_groups={},  # their defaults are dicts that all its pruners would share
            out_channel_groups={},
            num_heads={},
        )
        self.dependencies, self._splits = pruner.DG, (pruner.in_channel_groups, pruner.out_channel_groups)
        self._names = {module: name for name, module in model.named_modules()}

    def coupled(self, kinds: Kinds) -> list[Coupled]:
        """List the groups of channels that can be taken out, in the order of the network's modules."""
        fixed = self._fixed(kinds)
        return [self._coupled(group) for group in self.dependencies.get_all_groups(fixed, ROOTS)]

    def take_out(self, coupled: Coupled, units: Sequence[int]) -> None:
        """Take these units out, everywhere, in place."""
        root = coupled.group[0].dep
        self.dependencies.get_pruning_group(root.target.module, root.handler, coupled.channels(units)).prune()

    def history(self) -> list[Any]:
        """Return what was taken out, for torch-pruning."""
        history: list[Any] = self.dependencies.pruning_history()
        return history

    def _coupled(self, group: Any) -> Coupled:
        repeats = max(self._splits[self._writes(dep)].get(dep.target.module, 1) for dep, _ in group)
        units = len(group[0].idxs) // repeats
        written: Places = defaultdict(lambda: [[] for _ in range(units)])
        read: Places = defaultdict(lambda: [[] for _ in range(units)])
        for item in group:
            name = self._names.get(item.dep.target.module)  # None of an operation between modules
            if name is not None:
                side = written if self._writes(item.dep) else read
                for place, root in zip(item.idxs, item.root_idxs):
                    side[name][root % units].append(place)
        return Coupled(self._names[group[0].dep.target.module], repeats, dict(written), dict(read), group)

    def _fixed(self, kinds: Kinds) -> list[nn.Module]:
        """List the layers that keep their outputs: of other kinds, at the end, or summed with a part of others."""
        fixed: list[nn.Module] = []
        for group in self.dependencies.get_all_groups(root_module_types=ROOTS):
            outputs = [(dep.target, places) for dep, places in group if self._writes(dep)]
            layers = [(node.module, places) for node, places in outputs if isinstance(node.module, ROOTS)]
            end = any(not node.outputs for node, _ in outputs)
            part = any(len(places) != self.dependencies.get_out_channels(layer) for layer, places in layers)
            if end or part or not all(isinstance(layer, kinds) for layer, _ in layers):
                fixed += [layer for layer, _ in layers]
        return fixed

    def _writes(self, dep: Any) -> bool:
        return bool(self.dependencies.is_out_channel_pruning_fn(dep.handler))
