"""Write the networks of a complete run for another runtime, each beside what the run saved of it."""

import json
from pathlib import Path

from torch import nn

from layers import Plan, export, load, load_frequency_layers
from layers.checkpoint import OnnxNetwork
from layers.network import load_tensors

from ..lab.config import Config
from ..lab.recipes.job import Job, look_up
from ..lab.runs import record
from ..lab.steps.language import step_name
from ..lab.steps.state import FORMS, ONNX, State


def export_networks(config: Config, suffix: str) -> list[Path]:
    """Write dense.SUFFIX, NETWORK/model.SUFFIX of what was compressed, NETWORK.SUFFIX of what was trained from scratch.

    ValueError in one sentence for a network that the format cannot hold.
    """
    folder = config.output.out / config.name
    job = look_up(config)
    load_tensors(job.model, folder / "dense.safetensors")
    facts = {
        "run": config.name,
        "classes": json.dumps(job.dataset.classes),
        "preprocessing": json.dumps(job.dataset.preprocessing.record()),
    }
    written = []
    for row in record.read_results(folder)["rows"]:
        network, path = _read(job, folder, row["network"])
        if isinstance(network, OnnxNetwork):
            continue  # it is an .onnx file, and can be nothing else
        written.append(path.with_suffix(f".{suffix}"))
        export(network.cpu(), job.example[:2], written[-1], {**facts, "network": row["network"]})
    return written


def _read(job: Job, folder: Path, name: str) -> tuple[nn.Module, Path]:
    """Read the network as the run saved it; also where it is exported to, but for the suffix."""
    if name == "dense":
        return job.model, folder / "dense"
    if name in job.scratch:
        return load_frequency_layers(folder / f"{name}.safetensors", job.model), folder / name
    if (folder / name / ONNX).is_file():
        return OnnxNetwork(folder / name / ONNX), folder / name / "model"
    form = next((form for form in map(step_name, job.rows[name]) if form in FORMS), "")
    state = State(load(folder / name, job.model), Plan.load(folder / name / "plan.json"), form=form)
    return state.network(), folder / name / "model"
