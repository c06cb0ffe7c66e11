"""Networks by name, or from anyone's package."""

import importlib
import inspect
from collections.abc import Callable

from torch import nn

from checks import need

MODELS = {  # name -> module:factory, imported when used; a factory takes classes= and channels=
    "lenet": "experiments.models.lenet:LeNet",
    "lenet5": "experiments.models.lenet:LeNet5",
    "resnet20": "experiments.models.cifar_resnet:resnet20",
    "resnet56": "experiments.models.cifar_resnet:resnet56",
}


def factory(name: str) -> Callable:
    """The factory of a name in MODELS, or of the user's own `package.module:factory`; ValueError with the choices."""
    need(name in MODELS or ":" in name, "model", name, f"one of {', '.join(MODELS)}, or package.module:factory")
    module, _, attribute = MODELS.get(name, name).partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"model must be package.module:factory that can be imported, got {name!r} ({error})") from None


def build(name: str, classes: int, channels: int) -> nn.Module:
    """The network of that name for so many classes and image channels; ValueError if its factory does not take them."""
    make, arguments = factory(name), {"classes": classes, "channels": channels}
    try:
        inspect.signature(make).bind(**arguments)
    except TypeError:
        raise ValueError(f"model must be a factory that takes classes= and channels=, got {name!r}") from None
    return make(**arguments)
