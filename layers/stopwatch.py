"""A plan for a latency, held to the clock: what its layers save one by one is not what the whole network saves."""

import copy
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from checks import need

from .budget import Budget
from .choice import Survey, choose
from .compress import carry_out
from .cost import evaluating
from .plan import Plan, Seconds
from .timing import interleaved

CLOSE = 0.05  # of the time asked for: a network that takes so much more or less of it is what was asked for
TRIES = 4  # networks measured
ROUNDS = 15


def measured(model: nn.Module, plan: Plan, example: Tensor) -> Seconds:
    """A forward pass of the example through the dense network and through the planned one, its new weights all 0."""
    small = carry_out(copy.deepcopy(model), plan, lambda _, method, layer, spec: _zeros(method.shell(layer, spec)))
    with evaluating(model), evaluating(small):
        times = interleaved({"dense": lambda: model(example), "small": lambda: small(example)}, ROUNDS)
    return Seconds(times["dense"].median, times["small"].median)


def choose_by_clock(
    model: nn.Module,
    survey: Survey,
    budget: Budget,
    example: Tensor,
    clock: Callable[[nn.Module, Plan, Tensor], Seconds] = measured,
) -> Plan:
    """The plan whose whole network measures nearest to a budget of latency, of TRIES that aim ever closer.

    Its `seconds` are measured, those of its layers are of the table.  Raises ValueError where no plan meets the budget
    by the table, with the least that one can, and where none does by the clock, with the least that was measured.
    """
    asked, aim = budget.fraction, budget.fraction
    found: list[tuple[float, Plan]] = []
    for _ in range(TRIES):
        try:
            plan = choose(model, survey, Budget(latency=aim))
        except ValueError:
            if not found:
                raise
            break  # it aimed too low
        seconds = clock(model, plan, example)
        share = seconds.after / seconds.before
        found.append((share, replace(plan, budget=budget, seconds=seconds)))
        if abs(share / asked - 1) <= CLOSE or (share < asked and aim == 1):
            break
        aim = min(1.0, max(aim + asked - share, aim / 4))
    least = min(share for share, _ in found)
    most = (1 + CLOSE) * asked
    need(least <= most, "budget", str(budget), f"within reach, which measured at least latency={least:.4g}")
    return min((item for item in found if item[0] <= most), key=lambda item: abs(item[0] - asked))[1]


def _zeros(module: nn.Module) -> nn.Module:
    """Unset memory may hold numbers that are slow to compute with."""
    for tensor in module.state_dict().values():
        with torch.no_grad():
            tensor.zero_()
    return module
