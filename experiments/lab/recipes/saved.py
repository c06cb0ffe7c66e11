"""Read back what a complete run holds: its configuration, and its networks."""

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

from torch import nn

from checks import require
from layers import OnnxNetwork, Plan, load, load_frequency_layers

from ..config import Config
from ..runs import record
from ..steps.language import step_name
from ..steps.state import FORMS, ONNX, State, in_onnx
from .job import Job

PATHS = ("checkpoint", "data_root", "plan")


def configuration(folder: Path) -> Config:
    """Return the configuration that config.json of a run's folder holds; ValueError where it holds none."""
    path = folder / record.CONFIG
    try:
        flat = json.loads(path.read_text(encoding="utf-8"))
        assert isinstance(flat, dict)
    except (OSError, ValueError, AssertionError):
        raise ValueError(f"run must have a {record.CONFIG} that can be read, got {path}") from None
    groups: dict[str, Any] = {}
    known: set[str] = set()
    for group in fields(Config):
        kind = type(getattr(Config(), group.name))
        own = {field.name: _typed(field.name, flat[field.name]) for field in fields(kind) if field.name in flat}
        groups[group.name], known = kind(**own), known | set(own)
    unknown = sorted(set(flat) - known)
    require(not unknown, "options of the run", ", ".join(unknown), "those of this version: repeat it with --force")
    return Config(**groups)


def _typed(name: str, value: Any) -> Any:
    """Return a value as the options have it, of what JSON made of it."""
    if isinstance(value, list):
        return tuple(value)
    return Path(value) if name in PATHS and isinstance(value, str) else value


def read_network(job: Job, folder: Path, name: str) -> nn.Module:
    """Return a network of a complete run as it was measured; the job's own is the dense one, its weights read."""
    if name == "dense":
        return job.model
    if name in job.scratch:
        return load_frequency_layers(folder / f"{name}.safetensors", job.model)
    if in_onnx(folder / name):
        return OnnxNetwork(folder / name / ONNX)
    form = next((form for form in map(step_name, job.rows[name]) if form in FORMS), "")
    return State(load(folder / name, job.model), Plan.load(folder / name / "plan.json"), form=form).network()
