"""Networks by name, or from anyone's package."""

import importlib
from collections.abc import Callable

from checks import need

MODELS = {  # name -> module:factory, imported when used; a factory takes classes= and channels=
    "lenet": "experiments.models.lenet:LeNet",
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
