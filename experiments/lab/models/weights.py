"""torchvision's networks with their weights for ImageNet, and how those want to be shown images."""

import logging
import pickle
from dataclasses import replace
from pathlib import Path
from urllib.error import URLError

import torch
from torch import nn
from torchvision.models import WeightsEnum, get_model_weights, list_models

from checks import require

from ..config import SMALL, Data
from . import MODELS
from .checkpoints import fill_from, load_checkpoint as load_checkpoint, named_for, read_groups

PRETRAINED = tuple(name for name in MODELS if name in list_models())
log = logging.getLogger(__name__)


def published(name: str, file: Path | None = None) -> WeightsEnum:
    """Return torchvision's weights of a network: those whose file has this name, or else the default ones."""
    weights = get_model_weights(name)
    return next((entry for entry in weights if file and entry.url.endswith(f"/{file.name}")), weights.DEFAULT)


def shown_as_to(data: Data, name: str, file: Path | None) -> Data:
    """Preprocess the images as torchvision's weights were trained with them, where no option says otherwise."""
    if name not in PRETRAINED:
        return data
    preset = published(name, file).transforms()
    crop, resize, size = preset.crop_size[0], preset.resize_size[0], data.image_size or preset.crop_size[0]
    own = {
        "mean": tuple(preset.mean),
        "std": tuple(preset.std),
        "resize": round(size * resize / crop),
        "crop": size,
        "interpolation": preset.interpolation.value,
    }
    if data.interpolation == "none":
        del own["resize"]
    return replace(data, **{key: value for key, value in own.items() if getattr(data, key) is None})


def _downloaded(name: str) -> dict[str, torch.Tensor]:
    """Load the default weights from torch's cache or the network; ValueError where they are not to be had."""
    weights = published(name)
    path = Path(torch.hub.get_dir()) / "checkpoints" / weights.url.rpartition("/")[2]
    there = path.is_file()
    try:
        return weights.get_state_dict(check_hash=True, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, pickle.UnpicklingError, EOFError) as error:
        require(
            not there, f"pretrained weights of {name}", str(path), "a whole file: delete it, or pass --checkpoint FILE"
        )
        reason = error.reason if isinstance(error, URLError) else error
        raise ValueError(
            f"pretrained weights of {name} must be downloaded from {weights.url}, which failed ({reason}): "
            f"put the file at {path}, or pass --checkpoint FILE"
        ) from None


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
    path = file or Path(published(name).url)
    tensors = named_for(model, {"": _downloaded(name)} if file is None else read_groups(file), path)
    head = [key for key, layer in layers.items() if isinstance(layer, nn.Linear)][-1]
    thousand, classes = len(tensors.get(f"{head}.bias", ())), layers[head].out_features
    if thousand != classes:
        own = {key: tensor for key, tensor in model.state_dict().items() if key.startswith(f"{head}.")}
        fill_from(model, {"": tensors | own}, path)
        log.info("%s is torchvision's %s but for %s: %d classes, not %d", name, path.name, head, classes, thousand)
        return False
    fill_from(model, {"": tensors}, path)
    log.info("%s is torchvision's %s", name, path.name)
    return True
