"""What a run keeps of a plan for its readers: singular values in the loss metric, and the loss layer by layer."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from layers import Plan, Stats, compress
from layers.factored import spectrum
from layers.fitting import Metric, whitened
from layers.network import copy_of, evaluating
from layers.planning import method

from ..runs import record

FILE = "evidence.json"
MOST = 2e11  # multiply-accumulates that may be spent on it: a few seconds, where training takes minutes
FEWEST, LARGEST = 64, 512  # images: fewer say little, more say nothing new


def keep(folder: Path, network: str, evidence: dict[str, Any]) -> None:
    """Add the evidence of one network to evidence.json, which is rewritten whole."""
    record.write_json(folder / FILE, read(folder) | {network: evidence})


def read(folder: Path) -> dict[str, Any]:
    """Return network -> its evidence; nothing of runs that kept none."""
    return record.read_beside(folder / FILE, dict)


def gather(
    model: nn.Module,
    plan: Plan,
    stats: Stats | None,
    batches: list[tuple[Tensor, Tensor]],
    top1: Callable[[nn.Module], float] | None = None,
) -> dict[str, Any]:
    """Return `spectra` and `sensitivity` of the layers that the plan compresses, on images that calibrated it.

    top1: judges the network of the plan before any refit, for `unfitted_top1`; None where nothing is refitted.
    What needs that network is left out where it would take long.
    """
    found: dict[str, Any] = {"spectra": spectra(model, plan, stats), "sensitivity": {}}
    changed = [row.name for row in plan.layers if row.kernel]
    affordable = MOST / max(1, plan.before.macs * (len(changed) + 1))
    x, y = (torch.cat(part)[: int(min(LARGEST, affordable))] for part in zip(*batches))
    if len(x) < min(FEWEST, sum(len(labels) for _, labels in batches)):
        return found
    small = compress(model, plan, stats=stats)
    found["sensitivity"] = sensitivity(model, small, changed, x, y)
    return found | ({} if top1 is None else {"unfitted_top1": top1(small)})


def spectra(model: nn.Module, plan: Plan, stats: Stats | None) -> dict[str, list[dict[str, Any]]]:
    """Return layer -> for each matricisation its singular values in the metric of the loss, and how many are kept.

    Half the sum of the squares behind the cut is the rise of the loss that it alone brings (Eckart & Young 1936).
    """
    found = {}
    for row in plan.layers:
        scheme = method(row.kernel).scheme if row.kernel else None
        if scheme is None or stats is None or row.name not in stats.layers:
            continue
        layer: Any = model.get_submodule(row.name)
        white, _ = whitened(scheme, layer, Metric.of(layer, stats.layers[row.name]))
        sides = scheme.sides(white)
        cuts = _cuts(row.kernel, row.spec, len(sides))
        values = [spectrum(side).sqrt().tolist() for side in sides]
        found[row.name] = [{"values": side, "kept": cut} for side, cut in zip(values, cuts)]
    return found


def _cuts(kernel: str | None, spec: Any, sides: int) -> list[int]:
    """Return the ranks of a spec in the order of the scheme's sides: of ht outputs, inputs, and the middle."""
    if "rank" in spec:
        return [spec["rank"]] * sides
    return [spec["ranks"][place] for place in ((2, 0, 1) if kernel == "ht" else range(sides))]


@torch.no_grad()
def sensitivity(model: nn.Module, small: nn.Module, changed: list[str], x: Tensor, y: Tensor) -> dict[str, float]:
    """Return layer -> rise of the cross-entropy of x against y where it alone is as in the small network."""
    alone = copy_of(model)
    with evaluating(alone):
        dense = float(cross_entropy(alone(x.clone()), y))
        rises = {}
        for name in changed:
            whole = alone.get_submodule(name)
            alone.set_submodule(name, small.get_submodule(name).eval())
            rises[name] = float(cross_entropy(alone(x.clone()), y)) - dense
            alone.set_submodule(name, whole)
    return rises
