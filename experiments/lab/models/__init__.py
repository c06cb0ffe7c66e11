"""Networks by name, or from anyone's package."""

import importlib
import inspect
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from checks import require
from layers.network import class_scores

MODELS = {  # name -> module:factory, imported when used; a factory is called as CALLS says
    "lenet": "experiments.lab.models.lenet:LeNet",
    "lenet5": "experiments.lab.models.lenet:LeNet5",
    "convnet": "experiments.lab.models.convnet:ConvNet",
    **{
        name: f"experiments.lab.models.imagenet:{name}"
        for name in ("alexnet", "vgg16", "resnet18", "resnet34", "resnet50", "densenet121", "mobilenet_v3_small")
    },
    **{f"resnet{depth}": f"experiments.lab.models.cifar_resnet:resnet{depth}" for depth in (20, 32, 44, 56, 110)},
}
CALLS = [  # names of the numbers of classes and of image channels: this project's, timm's, others', torchvision's
    ("classes", "channels"),
    ("num_classes", "in_chans"),
    ("num_classes", "in_channels"),
    ("num_classes", "channels"),
    ("classes", None),
    ("num_classes", None),
]
LIBRARIES = tuple(str(Path(module.__file__ or "").parents[1]) for module in (importlib, torch))


def reason(error: BaseException) -> str:
    """Return what an error says in one line, and the file and line of the user's code in which it arose."""
    frames = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    if isinstance(error, SyntaxError):
        frames.append((error.filename or "", error.lineno))
    libraries = ("<", __file__, *LIBRARIES)
    at = next((f" at {file}:{line}" for file, line in reversed(frames) if not file.startswith(libraries)), "")
    words = " ".join(str(error.msg if isinstance(error, SyntaxError) else error).split())
    return f"{type(error).__name__}: {words}{at}"


def factory(name: str) -> Callable[..., Any]:
    """Return the factory of a name in MODELS or of a user's `package.module:factory`; ValueError with the choices."""
    require(name in MODELS or ":" in name, "model", name, f"one of {', '.join(MODELS)}, or package.module:factory")
    module, _, attribute = MODELS.get(name, name).partition(":")
    try:
        make = getattr(importlib.import_module(module), attribute)
    except (Exception, SystemExit) as error:  # a module of the user's does what it likes when it is imported
        raise ValueError(
            f"model must be package.module:factory that can be imported, got {name!r} ({reason(error)})"
        ) from error
    require(callable(make), "model", name, "package.module:factory of something that can be called")
    return make


def answer_scores(model: nn.Module, images: Tensor) -> Any:
    """Return what the network answers; from now on, where that is a tuple or a dictionary, its class scores alone."""
    answered = model(images)
    if isinstance(answered, Tensor) or (scores := class_scores(answered)) is None:
        return answered
    model.register_forward_hook(_scores_alone)
    return scores


def _scores_alone(model: nn.Module, args: Any, answered: Any) -> Any:
    return class_scores(answered)


def _calls(make: Callable[..., Any], classes: int, channels: int, size: int) -> list[dict[str, Any]]:
    """Return the ways of CALLS in which the factory can be called, by its signature; `size` is passed if it has one."""
    parameters = inspect.signature(make).parameters
    sized = {"size": size} if "size" in parameters else {}
    ways: list[dict[str, Any]] = []
    for of_classes, of_channels in CALLS:
        arguments = {of_classes: classes, **({of_channels: channels} if of_channels else {}), **sized}
        try:
            inspect.signature(make).bind(**arguments)
        except TypeError:
            continue
        ways.append(arguments)
    return ways


def build(name: str, classes: int, channels: int, size: int = 32) -> nn.Module:
    """Build the network for so many classes, image channels and pixels a side.

    ValueError for a factory that takes no number of classes, raises, or returns no network.
    """
    make = factory(name)
    ways = _calls(make, classes, channels, size)
    require(bool(ways), "model", name, "a factory that takes classes= and channels=, or num_classes=")
    for arguments in ways:
        try:
            model = make(**arguments)
        except (Exception, SystemExit) as error:
            refused = isinstance(error, TypeError) and "unexpected keyword argument" in str(error)
            if refused and arguments is not ways[-1]:  # **kwargs, handed on to what takes other names
                continue
            called = ", ".join(f"{key}={value}" for key, value in arguments.items())
            raise ValueError(
                f"model must be a factory that can be called, got {name!r} with {called} ({reason(error)})"
            ) from error
        require(isinstance(model, nn.Module), f"what {name} returns", type(model).__name__, "a torch.nn.Module")
        return model
    raise AssertionError("the last way returns or raises")
