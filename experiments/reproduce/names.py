"""Where a measured network stands in a record: its row, what was done to it, and its level, how much of it was kept."""

from ..lab.steps.kernel import Kernel
from ..lab.steps.language import written
from ..lab.steps.state import Step, Steps

DENSE, ALL = "dense", "1"


def place(steps: Steps) -> tuple[str, str]:
    """Return (row, level) of a network that these steps made: level is the kernel's budget, or the first step's number.

    Of a budget in MACs the fraction alone is written, epochs of fine-tuning are left out, all else is in the row.

    >>> from experiments.lab.steps.language import parse
    >>> place(parse("spatial macs=0.5, finetune 2")), place(parse("channels 0.3, svd bytes=0.25 selector=energy"))
    (('spatial+finetune', '0.5'), ('channels-0.3+svd-selector=energy', 'bytes=0.25'))
    >>> place(parse("weights 0.9, half")), place(parse("half")), place(())
    (('weights+half', '0.9'), ('half', '1'), ('dense', '1'))
    """
    if not steps:
        return DENSE, ALL
    kernels = [step for step in steps if isinstance(step, Kernel)]
    numbered = next((step for step in steps if _level(step) and type(step).__name__ != "Finetune"), None)
    giver = kernels[0] if kernels else numbered
    row = "+".join("-".join(_words(step, step is giver)) for step in steps)
    return row, (_level(giver) if giver is not None else "") or ALL


def _words(step: Step, gives_level: bool) -> list[str]:
    """Return a step's name and the options that tell it from others of its row."""
    name, *options = written(step).split()
    if name == "finetune":
        return [name]
    used = next(filter(_amount, options), None) if gives_level else None
    return [name, *(option for option in options if option != used)]


def _level(step: Step) -> str:
    """Return how much a step keeps or takes, as it is written; "" where it has no such number."""
    amounts = [option for option in written(step).split()[1:] if _amount(option)]
    return amounts[0].removeprefix("macs=") if amounts else ""


def _amount(option: str) -> bool:
    metric, _, value = option.rpartition("=")
    return metric in ("", "macs", "params", "bytes", "latency") and value.replace(".", "", 1).isdigit()
