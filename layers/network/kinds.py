"""Say what a layer is: which can be compressed, and whether one computes what its class does."""

from collections.abc import Callable

from torch import nn

Layer = nn.Conv2d | nn.ConvTranspose2d | nn.Linear  # what can be factored
Progress = Callable[[str], object]  # told the name of each layer that is done


def ignored(name: str) -> None:
    """Take no notice of a layer that is done."""


def is_plain(layer: nn.Module, kind: type[nn.Module]) -> bool:
    """Whether the layer computes what `kind` does: a subclass may do something else with its weight."""
    if not isinstance(layer, kind) or type(layer).forward is not kind.forward:
        return False
    return kind is not nn.Conv2d or type(layer)._conv_forward is nn.Conv2d._conv_forward  # type: ignore[attr-defined]


def weighted(model: nn.Module, kinds: type[nn.Module] | tuple[type[nn.Module], ...]) -> dict[str, nn.Module]:
    """Name -> convolution or Linear layer of these kinds, a shared one once."""
    return {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, (nn.Conv2d, nn.Linear)) and isinstance(module, kinds)
    }
