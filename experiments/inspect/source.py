"""Read weights before and after compression from files alone: no code of the network is run or needed."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from checks import require
from layers import Plan
from layers.factored import compose
from layers.loader import KINDS, _decoded, read as unpacked
from layers.network import read_tensors
from layers.planning import LayerPlan

from ..lab.reporting.comparison import Comparison
from ..lab.reporting.page.verdict import verdict
from ..lab.runs import history, record


class Layer(NamedTuple):
    """A layer that the plan compresses: its weight before, where that is known, and after; factors and their groups."""

    row: LayerPlan
    before: Tensor | None
    after: Tensor
    factors: Sequence[Tensor] = ()
    groups: Sequence[int] = ()

    @property
    def error(self) -> float | None:
        """Return |W - W_hat| / |W|; None where W is not known."""
        if self.before is None:
            return None
        before = self.before.double()
        return float((before - self.after.double()).norm() / before.norm().clamp_min(1e-300))


class Network(NamedTuple):
    """A compressed network of the subject."""

    name: str
    folder: Path
    plan: Plan
    layers: list[Layer]


class Seen(NamedTuple):
    """What is looked at: dense weights by layer, compressed networks, epochs."""

    title: str
    dense: Mapping[str, Tensor]
    networks: list[Network]
    epochs: list[dict[str, Any]]
    verdict: str = ""  # of a run, by its accuracies


def read(path: Path, dense: Path | None) -> Seen:
    """Read a run, a checkpoint or a file of weights; ValueError in one sentence for anything else."""
    choices = "a run folder, a folder that layers.save wrote, or a .safetensors file"
    if path.is_file():
        require(path.suffix == ".safetensors", "subject", str(path), choices)
        require(dense is None, "dense", str(dense), "left out for a file of weights")
        return Seen(path.name, weights(path), [], [])
    require(path.is_dir(), "subject", str(path), choices)
    if (path / record.CONFIG).is_file():
        require(dense is None, "dense", str(dense), "left out for a run, which has its own")
        return _run(path)
    require((path / "plan.json").is_file() and (path / "model.safetensors").is_file(), "subject", str(path), choices)
    known = dense or path.parent / "dense.safetensors"
    require(dense is None or known.is_file(), "dense", str(dense), "a .safetensors file")
    before = weights(known) if known.is_file() else {}
    return Seen(path.name, before, [_network(path, before)], [])


def _run(folder: Path) -> Seen:
    results = record.read_results(folder)
    config = results["config"]
    before = weights(folder / "dense.safetensors")
    names = [row["network"] for row in results["rows"] if (folder / row["network"] / "model.safetensors").is_file()]
    networks = [_network(folder / name, before) for name in names]
    title = f"{config['model']} on {config['dataset']}, run {folder.name}"
    seen = [network for network in networks if network.layers]
    return Seen(title, before, seen, history.read(folder), verdict(Comparison({folder.name: results})).headline)


def weights(path: Path) -> dict[str, Tensor]:
    """Return layer -> weight of every matrix and convolution in a file."""
    require(path.is_file(), "weights", str(path), "a .safetensors file that is there")
    found = {}
    for name, tensor in read_tensors(path).items():
        layer, _, kind = name.rpartition(".")
        if kind == "weight" and tensor.ndim in (2, 4) and tensor.is_floating_point() and tensor.numel():
            found[layer] = tensor
    return found


def _tensors(path: Path, plan: Plan) -> dict[str, Tensor]:
    """Return the tensors of a compressed network, unpacked; ValueError in one sentence for a file that is none."""
    try:
        return unpacked(path, 2**20 + 16 * max(plan.before.bytes, plan.before.params))
    except (SafetensorError, ValueError, KeyError) as error:
        raise ValueError(f"weights must be a whole file that layers.save wrote, got {path} ({error})") from None


def _network(folder: Path, before: Mapping[str, Tensor]) -> Network:
    """Read a compressed network and multiply its factors out."""
    plan = Plan.load(folder / "plan.json")
    tensors = _tensors(folder / "model.safetensors", plan)
    modules = json.loads((folder / "plan.json").read_text(encoding="utf-8")).get("modules")
    require(isinstance(modules, dict), "subject", str(folder), "what layers.save wrote, with its loader.py")
    tables = [torch.tensor(table, dtype=torch.float64) for table in modules["tables"]]
    layers = []
    for row in plan.layers:
        prefix = f"{row.name}." if row.name else ""
        known = before.get(row.name)
        if (code := modules["codes"].get(f"{prefix}weight")) is not None:
            after, factors, groups = _decoded(code, dict(tensors), tables), [], []
        elif row.kernel and len(modules["layers"].get(prefix, ())) > 1:
            parts = [KINDS[kind](**given, device="meta") for kind, given in modules["layers"][prefix]]
            if any(isinstance(part, nn.ConvTranspose2d) for part in parts):
                continue  # its axes are turned: no picture beside the others
            factors = [tensors[f"{prefix}{number}.weight"].float() for number in range(len(parts))]
            groups = [getattr(part, "groups", 1) for part in parts]
            composed = compose(factors, groups).flatten(0, 1)
            after = composed.flatten(1) if isinstance(parts[0], nn.Linear) else composed
        else:
            continue
        if known is not None and known.shape != after.shape:
            known = None  # of a network that lost channels
        layers.append(Layer(row, known, after.float(), factors, groups))
    return Network(folder.name, folder, plan, layers)
