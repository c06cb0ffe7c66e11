"""Which weights are studied: those of a checkpoint, or of the dense network of `experiments.run`."""

from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from checks import require
from layers.network import write_tensors

from ..lab.config import Config, Output
from ..lab.models import build
from ..lab.models.checkpoints import fill_from, named_for, read_groups
from ..lab.recipes.fit import train_dense
from ..lab.recipes.job import Job, check
from ..lab.runs import record
from .config import Study


class Weight(NamedTuple):
    """One layer's weight: w (o, i, h, w) of a convolution or (o, i) of a Linear, float64."""

    name: str
    kind: str  # "conv" or "linear"
    w: Tensor


class Origin(NamedTuple):
    """A network, where its weights come from in words, and the training job that is still to be done, if any."""

    model: nn.Module
    words: str
    job: Job | None = None


def _from_checkpoint(name: str, path: Path) -> nn.Module:
    """Build the network of the file's tensors, which say how many classes, image channels and pixels it is for."""
    groups = read_groups(path)
    channels, classes = 3, 10
    for size in (224, 32):  # the stem tells them apart where a network is built by the size of its images
        model = build(name, classes, channels, size)
        layers = [(key, m) for key, m in model.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)]
        require(bool(layers), "model", name, "a network with Conv2d or Linear layers")
        (first, stem), (last, _) = layers[0], layers[-1]
        tensors = named_for(model, groups, path)
        weight, head = (tensors.get(f"{key}.weight", torch.empty(0)) for key in (first, last))
        classes = len(head) or classes
        channels = weight.shape[1] if isinstance(stem, nn.Conv2d) and weight.ndim == 4 else channels
        if weight.shape[2:] == stem.weight.shape[2:] and tensors.keys() == model.state_dict().keys():
            break
    model = build(name, classes, channels, size)
    fill_from(model, groups, path)
    return model


def source(study: Study) -> Origin:
    """Find the network to study; ValueError in one sentence for what is wrong.  Nothing is written or trained yet."""
    name, path = study.network.model, study.network.checkpoint
    if path is not None:
        return Origin(_from_checkpoint(name, path), f"{name} with the weights of {path.name}")
    config = Config(network=study.network, output=Output(study.output.out))
    dense = study.output.out / config.name / "dense.safetensors"
    if (dense.parent / record.COMPLETE).is_file() and dense.is_file():
        return Origin(_from_checkpoint(name, dense), f"the dense network of the run {config.name}")
    job = check(config)
    return Origin(job.model, f"{name} trained on {config.data.dataset} as `python -m experiments.run` does", job)


def train(job: Job, folder: Path) -> None:
    """Train the dense network as the run would, and keep it with the study."""
    train_dense(job)
    write_tensors(job.model, folder / "dense.safetensors")


def weights(model: nn.Module, least: int) -> tuple[list[Weight], list[str]]:
    """Return (the weights of all Conv2d and Linear layers with `least` numbers or more, names of those skipped).

    All-zero weights are skipped too: they have no relative error.  ValueError for NaN and infinity.
    """
    studied, skipped = [], []
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            w = module.weight.detach().cpu().double()
            require(bool(w.isfinite().all()), f"weight of {name}", "NaN or infinity", "finite everywhere")
            if w.numel() < least or not w.any():
                skipped.append(name)
            else:
                studied.append(Weight(name, "conv" if isinstance(module, nn.Conv2d) else "linear", w))
    return studied, skipped
