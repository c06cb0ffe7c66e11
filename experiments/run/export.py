"""Write the networks of a complete run for another runtime, each beside what the run saved of it."""

from pathlib import Path

from layers import export
from layers.checkpoint import OnnxNetwork
from layers.network import load_tensors

from ..lab.config import Config
from ..lab.recipes.job import look_up
from ..lab.recipes.saved import read_network
from ..lab.runs import record


def export_networks(config: Config, suffix: str) -> list[Path]:
    """Write dense.SUFFIX, NETWORK/model.SUFFIX of what was compressed, NETWORK.SUFFIX of what was trained from scratch.

    ValueError in one sentence for a network that the format cannot hold.
    """
    folder = config.output.out / config.name
    job = look_up(config)
    load_tensors(job.model, folder / "dense.safetensors")
    facts = {"run": config.name, **job.dataset.facts()}
    written = []
    for row in record.read_results(folder)["rows"]:
        name = row["network"]
        network = read_network(job, folder, name)
        if isinstance(network, OnnxNetwork):
            continue  # it is an .onnx file, and can be nothing else
        path = folder / name if name == "dense" or name in job.scratch else folder / name / "model"
        written.append(path.with_suffix(f".{suffix}"))
        export(network.cpu(), job.example[:2], written[-1], {**facts, "network": name})
    return written
