"""A network's trained weights: a checkpoint of one's own, or torchvision's for ImageNet."""

import hashlib
import logging
import pickle
import re
from pathlib import Path
from urllib.error import URLError

import torch
from torch import Tensor, nn
from torchvision.models import get_model_weights, list_models

from checks import require
from layers.network import fill_network, read_tensors

from . import MODELS
from .imagenet import SMALL

PRETRAINED = tuple(name for name in MODELS if name in list_models())
log = logging.getLogger(__name__)
NESTS = ("state_dict", "model", "model_state_dict")  # where training scripts put the tensors beside an optimiser's
OLD_DENSENET = re.compile(r"(denselayer\d+\.(?:norm|conv))\.(\d\.)")  # norm.1.weight was renamed norm1.weight


def read_pth(path: Path) -> dict[str, Tensor]:
    """The tensors of torch's own format, read with weights_only: anything that could run code is refused."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ValueError(f"checkpoint must be a whole .pth file of tensors alone, got {path} ({reason})") from None
    for nest in NESTS:
        if isinstance(content, dict) and isinstance(content.get(nest), dict):
            content = content[nest]
    ok = isinstance(content, dict) and bool(content) and all(isinstance(v, Tensor) for v in content.values())
    require(ok, "checkpoint", str(path), "a file of a state_dict, name by name a tensor")
    return {OLD_DENSENET.sub(r"\1\2", name.removeprefix("module.")): tensor for name, tensor in content.items()}


def _counted(model: nn.Module, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """With the batch counts that BatchNorm has kept since torch 0.4.1, where an older file has none."""
    counts = {k: v for k, v in model.state_dict().items() if k.endswith("num_batches_tracked")}
    return tensors if counts.keys() & tensors.keys() else counts | tensors


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors or a .pth file, by name."""
    require(path.is_file(), "checkpoint", str(path), "a safetensors file or a .pth file")
    return read_pth(path) if path.suffix in (".pth", ".pt") else read_tensors(path)


def load_checkpoint(model: nn.Module, path: Path) -> None:
    """Fill the model from a safetensors or a .pth file, in place; ValueError names what does not fit."""
    fill_network(model, _counted(model, read_checkpoint(path)), path)


def _published(name: str, file: Path | None) -> Path:
    """torchvision's file, from the given path, torch's cache or the network; ValueError where it is not to be had."""
    weights = get_model_weights(name).DEFAULT
    url = weights.url
    path = file or Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
    if not path.is_file():
        require(file is None, "checkpoint", str(path), "a file that exists")
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(url, str(path), hash_prefix=path.stem.rpartition("-")[2])
        except (OSError, RuntimeError) as error:
            reason = error.reason if isinstance(error, URLError) else error
            raise ValueError(
                f"pretrained weights of {name} must be downloaded from {url}, which failed ({reason}): put the file at "
                f"{path}, or pass --checkpoint FILE"
            ) from None
    expected = url.rpartition("-")[2].removesuffix(".pth")
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    require(
        found.startswith(expected), f"SHA-256 of {path}", found[: len(expected)], f"{expected}, as torchvision says"
    )
    return path


def load_pretrained(model: nn.Module, name: str, size: int, file: Path | None = None) -> bool:
    """Fill the model with torchvision's ImageNet weights; whether all of them fitted.

    With other classes than ImageNet's thousand the last layer keeps its initial weights and has to be trained.
    ValueError for a network that is not torchvision's, or not at this size or for this number of channels.
    """
    require(name in PRETRAINED, "pretrained model", name, f"one of {', '.join(PRETRAINED)}")
    require(
        size > SMALL, "images for pretrained weights", f"{size} pixels", f"larger than {SMALL}: pass --image-size 224"
    )
    layers = dict(model.named_modules())
    first = next(layer for layer in layers.values() if isinstance(layer, nn.Conv2d))
    require(first.in_channels == 3, "channels for pretrained weights", first.in_channels, "3")
    path = _published(name, file)
    tensors = _counted(model, read_pth(path))
    head = [key for key, layer in layers.items() if isinstance(layer, nn.Linear)][-1]
    thousand, classes = len(tensors.get(f"{head}.bias", ())), layers[head].out_features
    if thousand != classes:
        own = {key: tensor for key, tensor in model.state_dict().items() if key.startswith(f"{head}.")}
        fill_network(model, tensors | own, path)
        log.info("%s is torchvision's %s but for %s: %d classes, not %d", name, path.name, head, classes, thousand)
        return False
    fill_network(model, tensors, path)
    log.info("%s is torchvision's %s", name, path.name)
    return True
