"""What is done to a network around its fine-tuning: weights pruned, binary, or halved."""

from typing import NamedTuple

from torch import Tensor, nn

from checks import require
from layers import fold
from layers.network import copy_of, evaluating
from layers.thinning import Half, Widths, binarise, mask, masks, zeros

from ..config import Compression

KINDS = {"all": nn.Module, "conv": nn.Conv2d, "linear": nn.Linear}


class Treatment(NamedTuple):
    """A treatment prunes a network, quantises it, does both, or neither."""

    prune: float | None = None  # fraction of the weights
    score: str = "l1"
    quantise: str | None = None
    layers: str = "all"

    @classmethod
    def of(cls, compression: Compression) -> "Treatment":
        """Read the options; ValueError for a fraction that is none."""
        fraction = compression.prune
        require(fraction is None or 0 < fraction < 1, "prune", fraction, "above 0 and below 1")
        alone = fraction is not None or compression.prune_score == "l1"
        require(alone, "prune score", compression.prune_score, "left out without --prune")
        after = (fraction is None and compression.quantise is None) or not compression.reestimate_batchnorm
        require(after, "reestimate batchnorm", True, "left out with --prune and --quantise, which come after it")
        return cls(fraction, compression.prune_score, compression.quantise, compression.layers)

    def __bool__(self) -> bool:
        return self.prune is not None or self.quantise is not None

    def name(self, kernel: str | None) -> str:
        """Name the network's row and folder: svd-pruned-half, or pruned alone."""
        return "-".join(filter(None, (kernel, None if self.prune is None else "pruned", self.quantise)))

    def words(self) -> list[str]:
        """Say how it was done, for a report."""
        parts = []
        if self.prune is not None:
            parts.append(f"{self.prune:.0%} of the weights pruned by {self.score} before fine-tuning")
        if self.quantise is not None:
            parts.append(
                {
                    "half": "computed and stored in float16 after fine-tuning",
                    "binary": "weights of two values per filter, also while fine-tuning",
                }[self.quantise]
            )
        return parts

    def begin(self, model: nn.Module) -> nn.Module:
        """Prune or binarise in place, before fine-tuning: same weights, same result, so that a killed run goes on."""
        chosen = {} if self.prune is None else masks(model, self.prune, self.score, KINDS[self.layers])
        if self.quantise == "binary":
            binarise(model, KINDS[self.layers])
        return mask(model, chosen)

    def end(self, model: nn.Module) -> nn.Module:
        """Make plain layers again, as they are saved after fine-tuning; float16 for half."""
        plain = fold(model) if self else model
        return plain.half() if self.quantise == "half" else plain

    def read(self, model: nn.Module) -> nn.Module:
        """Return the network to measure, given the one that was read back in float32."""
        return Half(model) if self.quantise == "half" else model

    def try_out(self, model: nn.Module, example: Tensor) -> None:
        """Refuse now what would be refused after an hour; the model is untouched."""
        tried = self.begin(copy_of(model))
        if self.quantise == "half":
            tried = self.read(self.end(tried))
            try:
                with evaluating(tried):
                    tried(example[:1].to(next(model.parameters()).device))
            except RuntimeError as error:
                reason = str(error).splitlines()[0]
                raise ValueError(f"network for --quantise half must run in float16 here, got {reason}") from None


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
