"""The rows of a run's table: each a list of steps, as `--compress` names them or the shorter options stand for."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from checks import require
from layers import Budget, Plan

from ..config import Compression
from ..evaluation.workshop import Workshop
from ..steps.batchnorm import Batchnorm
from ..steps.binary import Binary
from ..steps.channels import Channels
from ..steps.finetune import Finetune
from ..steps.half import Half
from ..steps.kernel import PLANNED, Kernel
from ..steps.language import check_order, parse, row_name, written
from ..steps.state import State, Step, Steps
from ..steps.weights import Weights


def rows(compression: Compression, epochs: int) -> dict[str, Steps]:
    """Return name -> steps of each row but the dense one; ValueError in one sentence for what cannot be combined.

    epochs: of fine-tuning, where the shorter options are given: channels, kernel, BatchNorm, weights, training.
    """
    if compression.compress:
        lists = [parse(text) for text in compression.compress]
        require(
            all(steps not in lists[:n] for n, steps in enumerate(lists)), "compress", compression.compress, "distinct"
        )
        return {row_name(steps): steps for steps in lists}
    first, kernels, last = _channels(compression), _kernels(compression), _weights(compression)
    if not kernels and not first and not last:
        return {}
    anew: Steps = (Batchnorm(),) if compression.reestimate_batchnorm else ()
    require(
        not (anew and last), "reestimate batchnorm", True, "left out with --prune and --quantise, which come after it"
    )
    tuned: Steps = (Finetune(epochs),) if epochs else ()
    held, halved = last[: len(last) - (Half() in last)], last[len(last) - (Half() in last) :]
    names = ["pruned" for step in last if isinstance(step, Weights)] + [q for q in (compression.quantise,) if q]
    made = {}
    for kernel, step in kernels.items() or {None: None}.items():
        steps = (*first, *([step] if step is not None else ()), *anew, *held, *tuned, *halved)
        check_order(steps)
        made["-".join(filter(None, ("thin" if first else None, kernel, *names)))] = steps
    return made


def _channels(compression: Compression) -> Steps:
    share = compression.prune_channels
    return () if share is None else (Channels(share, score="l2", round=1, layers=_layers(compression), refit=False),)


def _layers(compression: Compression) -> Any:
    return compression.layers  # without its synonyms, which are gone when the options are read


def _kernels(compression: Compression) -> Mapping[str, Step]:
    plan, wanted = compression.plan, compression.refit
    made: dict[str, Step] = {kernel: kernel_of(kernel, compression) for kernel in compression.kernel}
    if plan is not None:
        made[PLANNED] = Kernel.of_plan(Plan.load(plan), str(plan), wanted)
    return made


def kernel_of(kernel: str, compression: Compression) -> Kernel:
    """Return the step of one --kernel."""
    budget = None if compression.budget is None else Budget.parse(compression.budget)
    step = Kernel.within(budget, kernel, compression.selector or "loss", _layers(compression), compression.refit)
    return replace(
        step,
        runtime=compression.runtime,
        precision=compression.runtime_precision,
        threads=compression.runtime_threads,
        fold_batchnorm=compression.fold_batchnorm,
    )


def _weights(compression: Compression) -> Steps:
    share, score, layers = compression.prune, compression.prune_score, _layers(compression)
    pruned: Steps = () if share is None else (Weights(share, score, layers),)
    bits: dict[str | None, Steps] = {None: (), "half": (Half(),), "binary": (Binary(layers),)}
    return (*pruned, *bits[compression.quantise])


def said(steps: Steps, images: int) -> str:
    """Say how a row was made, for a report; images: how many calibrate."""
    reshaped = any(isinstance(step, Kernel | Channels) for step in steps)
    parts = [] if reshaped else ["every layer as in the dense network"]
    return "; ".join([*parts, *(phrase for step in steps for phrase in step.said(images))])


def planned(steps: Steps, shop: Workshop) -> Plan:
    """Return the plan of a row, which nothing is trained for; ValueError for a row that trains before its kernel."""
    state, kernel = State.of(shop), kernel_in(steps)
    for place, step in enumerate(steps):
        if step is kernel:
            return kernel.choose(state, shop) or state.plan
        trains = isinstance(step, Finetune) and kernel is not None
        require(not trains, "compress", written(step), "left out before a kernel: nothing is trained here")
        if isinstance(step, Channels):
            state = replace(step.apply(state, shop), done=steps[: place + 1])
    return state.plan


def kernel_in(steps: Steps) -> Kernel | None:
    """Return the step of a list that makes factors or coefficients, if there is one."""
    return next((step for step in steps if isinstance(step, Kernel)), None)
