"""Which weights are studied: those of a checkpoint, or of the dense network of `experiments.run`."""

from pathlib import Path
from typing import NamedTuple

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_model
from torch import Tensor, nn

from checks import need
from layers.compress import load_tensors

from .. import pipeline, record
from ..config import Config
from ..models import build
from .config import Study


class Weight(NamedTuple):
    """One layer's weight: w (o, i, h, w) of a convolution or (o, i) of a Linear, float64."""

    name: str
    kind: str  # "conv" or "linear"
    w: Tensor


class Source(NamedTuple):
    """A network, where its weights come from in words, and the training job that is still to be done, if any."""

    model: nn.Module
    words: str
    job: pipeline.Job | None = None


def _from_checkpoint(name: str, path: Path) -> nn.Module:
    """The network with the tensors of the file, which also says how many classes and image channels it has."""
    need(path.is_file(), "checkpoint", str(path), "a safetensors file")
    model = build(name, classes=10, channels=3)
    layers = [(key, m) for key, m in model.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    need(bool(layers), "model", name, "a network with Conv2d or Linear layers")
    try:
        with safe_open(str(path), "pt") as file:
            shapes = {key: file.get_slice(key).get_shape() for key in file.keys()}  # noqa: SIM118  # no mapping
    except SafetensorError as error:
        raise ValueError(f"{path} must be a whole safetensors file, got one that cannot be read ({error})") from None
    (first, stem), (last, _) = layers[0], layers[-1]
    channels = shapes.get(f"{first}.weight", [0, 3])[1] if isinstance(stem, nn.Conv2d) else 3
    model = build(name, classes=shapes.get(f"{last}.weight", [10])[0], channels=channels)
    load_tensors(model, path)
    return model


def source(study: Study) -> Source:
    """The network to study; ValueError in one sentence for what is wrong.  Nothing is written or trained yet."""
    name, path = study.network.model, study.network.checkpoint
    if path is not None:
        return Source(_from_checkpoint(name, path), f"{name} with the weights of {path.name}")
    config = Config(network=study.network, output=study.output)
    dense = study.output.out / config.name / "dense.safetensors"
    if (dense.parent / record.COMPLETE).is_file() and dense.is_file():
        return Source(_from_checkpoint(name, dense), f"the dense network of the run {config.name}")
    job = pipeline.check(config)
    return Source(job.model, f"{name} trained on {config.data.dataset} as `python -m experiments.run` does", job)


def train(job: pipeline.Job, folder: Path) -> None:
    """Train the dense network as the run would, and keep it with the study."""
    pipeline.train_dense(job)
    save_model(job.model, str(folder / "dense.safetensors"))


def weights(model: nn.Module, least: int) -> tuple[list[Weight], list[str]]:
    """(the weights of all Conv2d and Linear layers with `least` numbers or more, names of those skipped).

    All-zero weights are skipped too: they have no relative error.  ValueError for NaN and infinity.
    """
    found, skipped = [], []
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            w = module.weight.detach().cpu().double()
            need(bool(w.isfinite().all()), f"weight of {name}", "NaN or infinity", "finite everywhere")
            if w.numel() < least or not w.any():
                skipped.append(name)
            else:
                found.append(Weight(name, "conv" if isinstance(module, nn.Conv2d) else "linear", w))
    return found, skipped
