"""Refuse networks whose layers cannot be seen, or whose numbers are none."""

import torch
from torch import nn
from torch.nn.parameter import UninitializedParameter

from checks import require

QUANTISED = "torch.ao.nn."  # the modules of PyTorch's quantisation; their children compute in integers


def check_visible(model: nn.Module) -> None:
    """Refuse a network that torch.jit, PyTorch's quantisation or an exported file made: it has no layers to see.

    A network of torch.compile is seen through (`observing`).
    """
    for name, module in model.named_modules():
        place = f"layer {name!r} of {type(model).__name__}" if name else "model"
        jit = isinstance(module, torch.jit.ScriptModule)
        require(not jit, place, "scripted or traced by torch.jit", "Python code: the network that this was made of")
        opaque = getattr(type(module), "opaque", None)  # a network that a runtime runs says what it is
        require(opaque is None, place, opaque, "Python code: the network that this was made of")
        kind = type(module).__module__
        quantised = kind.startswith(QUANTISED) and "quantized" in kind
        allowed = "of floating-point numbers: the network that this was made of"
        require(not quantised, place, f"a quantised {type(module).__name__}", allowed)


def check_numbers(model: nn.Module) -> None:
    """Refuse parameters without numbers, on the meta device or not initialised yet, and NaN or infinity, by name."""
    for name, module in model.named_modules():
        for key, parameter in module._parameters.items():
            if parameter is None:
                continue
            place = f"{key} of layer {name!r}" if name else f"{key} of the model"
            known = not isinstance(parameter, UninitializedParameter)
            require(known, place, "one that is not initialised", "known: run the network once")
            require(not parameter.is_meta, place, "on the meta device", "a tensor with numbers")
            numbers = parameter.detach()
            if not bool(numbers.isfinite().all()):
                require(False, place, "NaN" if bool(numbers.isnan().any()) else "infinity", "finite")
