"""Plan for a latency: choose by the per-layer table, time the whole network, correct the aim.

Layers' savings do not add up: what they save one by one is not what the whole network saves.
"""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from checks import require

from ..costs import forward, interleaved
from ..network import copy_of, evaluating
from .budget import Budget
from .compress import carry_out
from .plan import Plan, Seconds
from .prices import Clock

CLOSE = 0.06  # of the time asked for: a network that takes at most so much less of it is what was asked for
TRIES = 4  # networks measured
ROUNDS = 15


def nearest(budget: Budget, choose: Callable[[Budget], Plan], measure: Callable[[Plan], Seconds]) -> Plan:
    """Return, of at most TRIES plans that aim ever closer, the one that measures nearest below the budget.

    choose: the plan of a budget by the table; measure: the seconds of its network.  The plan's `seconds` are measured,
    those of its layers are of the table.  Raises ValueError where no plan meets the budget by the table, with the least
    that one can, and where none does by the clock, with the least that was measured.
    """
    asked, aim = budget.fraction, budget.fraction
    measured: list[tuple[float, Plan]] = []
    for _ in range(TRIES):
        try:
            plan = choose(Budget(latency=aim))
        except ValueError:
            if not measured:
                raise
            break  # it aimed too low
        pair = measure(plan)
        share = pair.after / pair.before
        measured.append((share, replace(plan, budget=budget, seconds=pair)))
        if (1 - CLOSE) * asked <= share <= asked or (share < asked and aim == 1):
            break
        aim = min(1.0, max(aim + (1 - CLOSE / 2) * asked - share, aim / 4))
    least = min(share for share, _ in measured)
    require(least <= asked, "budget", str(budget), f"within reach, which measured at least latency={least:.4g}")
    return max((pair for pair in measured if pair[0] <= asked), key=lambda pair: pair[0])[1]


def seconds(model: nn.Module, plan: Plan, example: Tensor, clock: Clock | None = None) -> Seconds:
    """Time a forward pass of the example through the dense network and through the planned one, new weights all 0."""
    small = carry_out(copy_of(model), plan, lambda _, method, layer, spec: _zeros(method.shell(layer, spec)))
    with evaluating(model), evaluating(small):
        runs = {"dense": forward(model, example), "small": forward(small, example)}
        times = interleaved(runs, ROUNDS, clock=clock)
    return Seconds(times["dense"].median, times["small"].median)


def _zeros(module: nn.Module) -> nn.Module:
    """Fill unset memory: it may hold numbers that are slow to compute with."""
    for tensor in module.state_dict().values():
        with torch.no_grad():
            tensor.zero_()
    return module
