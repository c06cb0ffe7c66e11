"""The widths of plain layers: what channel pruning changes of a network, and a network's layers at other widths."""

from collections.abc import Mapping
from typing import Any

from torch import nn

from checks import require

from ..network import is_plain, replace

WIDTHS = ("in_channels", "out_channels", "groups", "in_features", "out_features", "num_features")
_CONV = ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups", "padding_mode")
_BATCHNORM = ("num_features", "eps", "momentum", "affine", "track_running_stats")
ARGUMENTS: dict[type[nn.Module], tuple[str, ...]] = {
    nn.Conv2d: _CONV,
    nn.Linear: ("in_features", "out_features"),
    nn.ConvTranspose2d: (*_CONV, "output_padding"),
    nn.BatchNorm1d: _BATCHNORM,
    nn.BatchNorm2d: _BATCHNORM,
}
KEPT = "widths_of_layers"  # the attribute of a network in which they are kept; copies have it as well
Widths = Mapping[str, Mapping[str, int]]  # layer -> those of its widths that are not the dense network's


def arguments(layer: nn.Module) -> tuple[type[nn.Module], dict[str, Any]]:
    """The class of a plain layer and what its constructor was given; ValueError for any other layer."""
    kind = next((kind for kind in ARGUMENTS if is_plain(layer, kind)), None)
    plain = f"a plain {', '.join(plain.__name__ for plain in ARGUMENTS)}, with a weight"
    if kind is None or getattr(layer, "weight", None) is None:
        raise ValueError(f"layer must be {plain}, got {type(layer).__name__}")
    given = {name: getattr(layer, name) for name in ARGUMENTS[kind]}
    return kind, given if kind in (nn.BatchNorm1d, nn.BatchNorm2d) else given | {"bias": layer.bias is not None}


def changed(dense: nn.Module, thin: nn.Module) -> dict[str, dict[str, int]]:
    """Compare two networks that differ in the widths of layers alone: layer -> the widths that `thin` has instead."""
    widths = {}
    for name, module in dense.named_modules():
        other = thin.get_submodule(name)
        new = {key: getattr(other, key) for key in WIDTHS if getattr(other, key, None) != getattr(module, key, None)}
        if new:
            widths[name] = new
    return widths


def widths_of(model: nn.Module) -> Widths:
    """The widths that `resize` gave the layers of a network, or of the one that it was compressed from.

    A network keeps them, for `save`: what reads it back begins with the dense one.
    """
    return dict(vars(model).get(KEPT, {}))


def resize(model: nn.Module, widths: Widths) -> nn.Module:
    """Give layers of a network these widths, their numbers unset, in place; use the return value.

    `widths_of` the result tells all that differs from the dense network, however often it is made thinner.  ValueError
    for a layer that the network lacks or that cannot be swapped, and for a width that is none of its own or
    above what it has: channels are taken out, never added.
    """
    unknown = sorted(set(widths) - {name for name, _ in model.named_modules()})
    require(not unknown, "plan", unknown, "about widths of layers that the model has")

    def rule(name: str, module: nn.Module) -> nn.Module | None:
        if name not in widths:
            return None
        kind, given = arguments(module)
        for key, width in widths[name].items():
            require(key in WIDTHS and key in given, f"width of layer {name!r}", key, f"one that {kind.__name__} has")
            allowed = f"an integer from 1 to {given[key]}"
            require(type(width) is int and 1 <= width <= given[key], f"{key} of layer {name!r}", width, allowed)
        weight: Any = module.weight
        try:
            new = kind(**{**given, **widths[name]}, device=weight.device, dtype=weight.dtype)
        except ValueError as error:  # channels that the groups do not divide
            raise ValueError(f"widths of layer {name!r} must fit each other, got {widths[name]} ({error})") from None
        for parameter, old in zip(new.parameters(), module.parameters()):
            parameter.requires_grad_(old.requires_grad)
        return new

    resized, before = replace(model, rule), widths_of(model)
    if widths:
        merged = {name: {**before.get(name, {}), **new} for name, new in widths.items()}
        setattr(resized, KEPT, {**before, **merged})
    return resized
