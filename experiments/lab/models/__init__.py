"""Networks by name, or from anyone's package."""

import importlib
import inspect
from collections.abc import Callable

from torch import nn

from checks import require

MODELS = {  # name -> module:factory, imported when used; a factory takes classes= and channels=, and size= if it cares
    "lenet": "experiments.lab.models.lenet:LeNet",
    "lenet5": "experiments.lab.models.lenet:LeNet5",
    **{
        name: f"experiments.lab.models.imagenet:{name}"
        for name in ("alexnet", "vgg16", "resnet18", "resnet34", "resnet50", "densenet121", "mobilenet_v3_small")
    },
    **{f"resnet{depth}": f"experiments.lab.models.cifar_resnet:resnet{depth}" for depth in (20, 32, 44, 56, 110)},
}


def factory(name: str) -> Callable:
    """The factory of a name in MODELS, or of the user's own `package.module:factory`; ValueError with the choices."""
    require(name in MODELS or ":" in name, "model", name, f"one of {', '.join(MODELS)}, or package.module:factory")
    module, _, attribute = MODELS.get(name, name).partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"model must be package.module:factory that can be imported, got {name!r} ({error})") from None


def build(name: str, classes: int, channels: int, size: int = 32) -> nn.Module:
    """The network for so many classes, image channels and pixels a side; ValueError if its factory does not take them.

    `size` is passed on to a factory that has it among its parameters.
    """
    make = factory(name)
    arguments = {"classes": classes, "channels": channels}
    signature = inspect.signature(make)
    if "size" in signature.parameters:
        arguments["size"] = size
    try:
        signature.bind(**arguments)
    except TypeError:
        raise ValueError(f"model must be a factory that takes classes= and channels=, got {name!r}") from None
    return make(**arguments)
