"""A plan for a latency, held to the clock: what its layers save one by one is not what the whole network saves."""

import copy
from dataclasses import replace

import torch
from torch import Tensor, nn

from checks import require

from ..costs import interleaved
from ..network import evaluating
from .budget import Budget
from .choice import Survey, choose
from .compress import carry_out
from .plan import Plan, Seconds

CLOSE = 0.06  # of the time asked for: a network that takes at most so much less of it is what was asked for
TRIES = 4  # networks measured
ROUNDS = 15


def measured(model: nn.Module, plan: Plan, example: Tensor) -> Seconds:
    """A forward pass of the example through the dense network and through the planned one, its new weights all 0."""
    small = carry_out(copy.deepcopy(model), plan, lambda _, method, layer, spec: _zeros(method.shell(layer, spec)))
    with evaluating(model), evaluating(small):
        times = interleaved({"dense": lambda: model(example), "small": lambda: small(example)}, ROUNDS)
    return Seconds(times["dense"].median, times["small"].median)


def decide(model: nn.Module, survey: Survey, budget: Budget, example: Tensor) -> Plan:
    """The plan of a survey: by what is counted, or for a latency by the table and then by the clock.

    Of at most TRIES networks, that aim ever closer, the one that measures nearest below the budget.  The plan's
    `seconds` are measured, those of its layers are of the table.  Raises ValueError where no plan meets the budget by
    the table, with the least that one can, and where none does by the clock, with the least that was measured.
    """
    if budget.metric != "latency":
        return choose(model, survey, budget)
    asked, aim = budget.fraction, budget.fraction
    found: list[tuple[float, Plan]] = []
    for _ in range(TRIES):
        try:
            plan = choose(model, survey, Budget(latency=aim))
        except ValueError:
            if not found:
                raise
            break  # it aimed too low
        seconds = measured(model, plan, example)
        share = seconds.after / seconds.before
        found.append((share, replace(plan, budget=budget, seconds=seconds)))
        if (1 - CLOSE) * asked <= share <= asked or (share < asked and aim == 1):
            break
        aim = min(1.0, max(aim + (1 - CLOSE / 2) * asked - share, aim / 4))
    least = min(share for share, _ in found)
    require(least <= asked, "budget", str(budget), f"within reach, which measured at least latency={least:.4g}")
    return max((item for item in found if item[0] <= asked), key=lambda item: item[0])[1]


def _zeros(module: nn.Module) -> nn.Module:
    """Unset memory may hold numbers that are slow to compute with."""
    for tensor in module.state_dict().values():
        with torch.no_grad():
            tensor.zero_()
    return module
