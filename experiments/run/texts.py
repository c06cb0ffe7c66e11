"""What became of each layer, in lines of words."""

from torch import nn

from layers.thinning import Widths, zeros


def widths_of_layers(dense: nn.Module, widths: Widths) -> str:
    """Return a line for each layer that has lost channels."""
    width = max(map(len, widths), default=0)
    lines = []
    for name, new in widths.items():
        old = dense.get_submodule(name)
        lines.append(f"{name:{width}}  {', '.join(f'{key} {getattr(old, key)} > {n}' for key, n in new.items())}")
    return "\n".join(lines)


def zeros_of_layers(model: nn.Module) -> str:
    """Return a line for each layer with zeros among its weights."""
    shares = {name: share for name, share in zeros(model).items() if share}
    width = max(map(len, shares), default=0)
    return "\n".join(f"{name:{width}}  {share:6.1%} zero" for name, share in shares.items())
