"""A network that is trained already, and its images: where `plan`, `sweep` and `bench planner` begin."""

from checks import require

from ..config import Config
from .job import Job, look_up as any_network


def look_up(config: Config) -> Job:
    """The job of a configuration that needs no training; ValueError in one sentence without a trained network."""
    network = config.network
    given = network.checkpoint is not None or network.pretrained
    require(given, "checkpoint", None, "given, or --pretrained: dense.safetensors of a run's folder, for one")
    job = any_network(config)
    whole = f"one whose weights fit {len(job.dataset.classes)} classes: train the last layer first"
    require(job.epochs == 0, "pretrained network", network.model, whole)
    job.model.eval().to(job.device)
    return job
