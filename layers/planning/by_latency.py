"""Plan for a latency: choose by the table of layers' seconds, time the whole network, correct the aim.

Layers' savings do not add up: what they save one by one is not what the whole network saves.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property

from torch import Tensor, nn

from checks import require

from ..costs import interleaved
from ..network import copy_of, evaluating
from .budget import Budget
from .compress import carry_out
from .plan import Plan, Seconds
from .prices import Clock, Here, Server, noise

CLOSE = 0.06  # of the time asked for: a network that takes at most so much less of it is what was asked for
TRIES = 6  # networks measured
MIDDLE = 0.2, 0.8  # of the way between two tries, where the next one lies: neither end is tried twice
ROUNDS = 15


class OutOfReach(ValueError):
    """No plan is as cheap by the prices of layers; `least` is the fraction that the cheapest takes."""

    def __init__(self, sentence: str, least: float) -> None:
        super().__init__(sentence)
        self.least = least


def nearest(budget: Budget, choose: Callable[[Budget], Plan], measure: Callable[[Plan], Seconds]) -> Plan:
    """Return, of at most TRIES plans that aim ever closer, the one that measures nearest below the budget.

    choose: the plan of a budget by the table; measure: the seconds of its network.  The plan's `seconds` are measured,
    those of its layers are of the table.  Raises ValueError where no plan meets the budget by the clock, with the least
    that was measured, and what the table had foreseen.
    """
    asked, aim, least = budget.fraction, budget.fraction, 0.0
    measured, tried, foreseen = list[tuple[float, Plan]](), list[tuple[float, float]](), {}
    for _ in range(TRIES):
        try:
            plan = choose(Budget(latency=aim))
        except OutOfReach as small:
            if least:
                break  # it has been tried
            least = aim = min(1.0, small.least)  # by the clock it may be within reach
            plan = choose(Budget(latency=aim))
        expected = plan.seconds
        pair = measure(plan)
        share = pair.after / pair.before
        measured.append((share, replace(plan, budget=budget, seconds=pair)))
        foreseen[share] = expected.after / expected.before if expected else aim
        if (1 - CLOSE) * asked <= share <= asked or (share < asked and aim == 1) or (share > asked and aim == least):
            break
        tried.append((aim, share))
        aim = min(1.0, max(_closer(tried, (1 - CLOSE / 2) * asked), least))
    lowest = min(share for share, _ in measured)
    reach = f"within reach, which measured at least latency={lowest:.4g}, {foreseen[lowest]:.4g} by the layers' times"
    require(lowest <= asked, "budget", str(budget), reach)
    return max((pair for pair in measured if pair[0] <= asked), key=lambda pair: pair[0])[1]


def _closer(tried: Sequence[tuple[float, float]], goal: float) -> float:
    """Return the next aim, on the line through the tries nearest to the goal on either side of it.

    tried: aims and what was measured, the last at the end.  While all lie on one side, or where a lower aim measured
    more, the last aim is moved by what it missed.  Times jump where a layer changes its form: moved so each time, aims
    would go back and forth across the jump.
    """
    aim, share = tried[-1]
    low = max((pair for pair in tried if pair[1] <= goal), key=lambda pair: pair[1], default=None)
    high = min((pair for pair in tried if pair[1] > goal), key=lambda pair: pair[1], default=None)
    if low is None or high is None or low[0] >= high[0]:
        return max(aim + goal - share, aim / 4)
    part = (goal - low[1]) / (high[1] - low[1])
    return low[0] + min(max(part, MIDDLE[0]), MIDDLE[1]) * (high[0] - low[0])


class Stopwatch:
    """Times planned networks beside the dense one, where they will be served; new weights are noise."""

    def __init__(self, model: nn.Module, example: Tensor, server: Server | None = None, clock: Clock | None = None):
        self.model, self.example, self.server, self.clock = model, example, server or Here(), clock

    @cached_property
    def dense(self) -> Callable[[], object]:
        """What runs the dense network."""
        return self.server.network(self.model, self.example)

    def whole(self) -> float:
        """Return the seconds of a forward pass of the dense network."""
        with evaluating(self.model), self.server.running():
            return interleaved({"dense": self.dense}, ROUNDS, clock=self.clock)["dense"].median

    def __call__(self, plan: Plan) -> Seconds:
        """Return the seconds of both networks; one that stays dense takes what the dense one does."""
        if all(row.kernel is None for row in plan.layers):
            return Seconds(*[self.whole()] * 2)
        small = carry_out(copy_of(self.model), plan, lambda _, method, layer, spec: noise(method.shell(layer, spec)))
        with evaluating(self.model), evaluating(small), self.server.running():
            runs = {"dense": self.dense, "small": self.server.network(small, self.example)}
            times = interleaved(runs, ROUNDS, clock=self.clock)
        return Seconds(times["dense"].median, times["small"].median)
