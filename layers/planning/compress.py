"""Turn a plan into a network, and keep it: compress, save, load."""

import copy
from collections.abc import Callable

from torch import nn

from checks import require

from ..calibration import Stats, check_stats
from ..factored import Spec
from ..network import replace
from .methods import METHODS, Method
from .plan import Plan

Build = Callable[[str, Method, nn.Module, Spec], nn.Module]


def carry_out(model: nn.Module, plan: Plan, build: Build) -> nn.Module:
    """The model with every planned layer swapped for build(name, method, layer, spec), in place."""
    rows = {row.name: row for row in plan.layers}
    require(
        len(rows) == len(plan.layers), "plan", [row.name for row in plan.layers], "of layers that are named once each"
    )
    unknown = sorted(set(rows) - {name for name, _ in model.named_modules()})
    require(not unknown, "plan", unknown, "about layers that the model has")

    def rule(name: str, module: nn.Module) -> nn.Module | None:
        row = rows.get(name)
        if row is None or row.kernel is None:
            return None
        where = f"plan for layer {name!r}"
        require(row.kernel in METHODS, f"{where}: kernel", row.kernel, f"one of {', '.join(METHODS)}")
        chosen = METHODS[row.kernel]
        refused = chosen.refusal(module)
        require(refused is None, where, f"{row.kernel}, but {refused}", "a kernel that the layer can take")
        try:
            return build(name, chosen, module, row.spec)
        except ValueError as error:  # a spec that is impossible, alone or in its parts
            raise ValueError(f"{where}: {error}") from None

    return replace(model, rule)


def compress(model: nn.Module, plan: Plan, *, stats: Stats | None = None) -> nn.Module:
    """A new, compressed network; the given one is untouched.  ValueError if plan or stats do not fit the model.

    model: what the plan was made for; with `plan.widths` that is the thinner network.
    stats: what `calibrate` saw of the model; factors then lose the least for the loss instead of for the weight.
    """
    if stats is not None:
        check_stats(stats, model)
    seen = {} if stats is None else stats.layers
    return carry_out(copy.deepcopy(model), plan, lambda name, m, layer, spec: m.build(layer, spec, seen.get(name)))
