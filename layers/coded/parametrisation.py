"""weight = decode(code): any kernel of stage 3 becomes the trained, compressed weight of an ordinary layer."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

import stage3_torch
from checks import require
from contract import KERNELS, leaves, refill

from ..network import replace


class Decoded(nn.Module):
    """A parametrisation whose decoded weight is kept while nothing can change it: in eval mode without gradients."""

    def decode(self, *arrays: Tensor) -> Tensor:
        """The weight that the arrays stand for."""
        raise NotImplementedError

    def forward(self, *arrays: Tensor) -> Tensor:
        """decode(arrays), from the cache if they are the same tensors, unchanged."""
        if self.training or torch.is_grad_enabled() or torch.compiler.is_compiling():
            self._cache: tuple[Any, Tensor] | None = None
            return self._decode(*arrays)
        key = [(a.data_ptr(), a._version, a.dtype, a.device) for a in arrays]
        if getattr(self, "_cache", None) is None or self._cache[0] != key:  # type: ignore[index]  # narrowed just before
            self._cache = key, self._decode(*arrays)
        return self._cache[1]  # type: ignore[index]

    def _decode(self, *arrays: Tensor) -> Tensor:
        # Autocast would round the weight, and the cache would then serve the rounded one where there is no autocast.
        with torch.autocast(arrays[0].device.type, enabled=False):
            return self.decode(*arrays).contiguous()  # else every convolution would copy it


class Coded(Decoded):
    """The arrays of a decomposition as parameters, e.g. Coded("svd", rank=8).

    The svd sees the weight as a matrix, one row per output; every other kernel sees it as it is.
    """

    def __init__(self, name: str, **spec: Any) -> None:
        super().__init__()
        require(name in KERNELS, "kernel", name, f"one of {', '.join(KERNELS)}")
        self.kernel, self.spec = KERNELS[name], spec

    def right_inverse(self, weight: Tensor) -> Sequence[Tensor]:
        """Encode: torch calls this once, at registration, and at every assignment to the weight."""
        self.shape = weight.shape
        matrix = weight.flatten(1) if self.kernel.encode == "svd" else weight
        self.like = getattr(stage3_torch, self.kernel.encode)(matrix, **self.spec)
        arrays = leaves(self.like)
        self.like = refill(self.like, iter([None] * len(arrays)))  # the structure alone
        return tuple(a.contiguous() for a in arrays)

    def decode(self, *arrays: Tensor) -> Tensor:
        """decode(code), in the shape of the weight."""
        code = refill(self.like, iter(arrays))
        return getattr(stage3_torch, self.kernel.decode)(code, **self.kernel.decoding(self.spec)).reshape(self.shape)


def code(layer: nn.Module, parametrisation: Decoded) -> nn.Module:
    """Give the layer's weight this parametrisation, in place: its code is then what trains and what is saved."""
    parametrize.register_parametrization(layer, "weight", parametrisation)
    layer.train(layer.training)
    return layer


def is_coded(module: nn.Module) -> bool:
    """Whether the module's weight is decoded from a code."""
    return any(
        isinstance(child, Decoded)
        for name, child in module.named_modules()
        if name.startswith("parametrizations.weight.")
    )


def filled(layer: nn.Module, weight: Tensor, bias: Tensor | None) -> nn.Module:
    """The layer with copies of these numbers."""
    layer.register_parameter("weight", nn.Parameter(weight.detach().clone()))
    layer.register_parameter("bias", None if bias is None else nn.Parameter(bias.detach().clone()))
    return layer


def fold(model: nn.Module) -> nn.Module:
    """Turn every coded layer of the model back, in place, into the plain layer with the decoded weight.

    Use the return value: the root itself may be a layer that is swapped (one with a `materialize` of its own).
    """

    def rule(_: str, module: nn.Module) -> nn.Module | None:
        plain: nn.Module | None = module.materialize() if hasattr(module, "materialize") else None  # type: ignore[operator]  # torch types every attribute as Tensor | Module
        return plain

    model = replace(model, rule)
    for module in list(model.modules()):
        if is_coded(module):
            _plain(module)
    return model


def _plain(module: nn.Module) -> None:
    """As remove_parametrizations, but leaves the class alone, which copies of the layer share."""
    weight = module.weight
    assert isinstance(weight, Tensor)
    trained = any(array.requires_grad for array in module.parametrizations.parameters())  # type: ignore[union-attr]  # torch types every attribute as Tensor | Module
    module.__class__ = type(module).__mro__[1]
    del module._modules["parametrizations"]
    module.register_parameter("weight", nn.Parameter(weight.detach().clone(), trained))
