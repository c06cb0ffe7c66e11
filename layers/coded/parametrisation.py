"""weight = decode(code): the code of any kernel of stage 3 is the trained parameter of an ordinary layer."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

import stage3_torch
from checks import require
from contract import KERNELS, leaves, refill

from ..network import replace


class Decoded(nn.Module):
    """A parametrisation that caches its decoded weight in eval mode without gradients, where nothing can change it."""

    def decode(self, *arrays: Tensor) -> Tensor:
        """Decode the weight from the arrays of its code."""
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
    """weight = decode(code), the code being the arrays of a kernel of stage 3.

    The svd sees the weight as a matrix, one row per output; every other kernel sees it as it is.  A forward pass
    multiplies by the decoded weight: this saves parameters and no multiplications, which `compress` does by a sequence
    of smaller layers instead.  No plan makes it, so `save` refuses a network that has it; `fold` it first.

    Args:
        name: a kernel of stage 3, such as "svd", "tucker", "cp", "ht" or "dct".
        spec: what its encoder is given beside the weight, such as rank=8.

    Raises:
        ValueError: for an unknown kernel; from `code`, for a spec that the kernel refuses.

    Example:
        >>> layer = code(nn.Linear(32, 16), Coded("svd", rank=2))
        >>> sum(parameter.numel() for parameter in layer.parameters())  # 16 biases, 16 x 2 + 2 + 2 x 32 numbers
        114
    """

    def __init__(self, name: str, **spec: Any) -> None:
        super().__init__()
        require(name in KERNELS, "kernel", name, f"one of {', '.join(KERNELS)}")
        self.kernel, self.spec = KERNELS[name], spec

    def right_inverse(self, weight: Tensor) -> Sequence[Tensor]:
        """Encode the weight; torch calls this at registration, and at every assignment to the weight."""
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
    """Give the layer's weight this parametrisation, in place: its code is then what trains and what is saved.

    Args:
        layer: any module with a `weight`, whose numbers are encoded.
        parametrisation: a `Transform` or `Coded`, for this layer alone.

    Returns:
        The layer, in the mode it was in.

    Raises:
        ValueError: for a weight that the parametrisation cannot encode.

    Example:
        >>> layer = code(nn.Conv2d(4, 4, 3, bias=False), Coded("dct", axis=3))
        >>> [name for name, _ in layer.named_parameters()]
        ['parametrizations.weight.original0']
    """
    parametrize.register_parametrization(layer, "weight", parametrisation)
    layer.train(layer.training)
    return layer


def is_coded(module: nn.Module) -> bool:
    """Tell whether the module's weight is decoded from a code."""
    return any(
        isinstance(child, Decoded)
        for name, child in module.named_modules()
        if name.startswith("parametrizations.weight.")
    )


def check_plain_weights(layers: Mapping[str, nn.Module], done: str) -> None:
    """Refuse layers whose weight something else makes, such as weight_norm, spectral_norm or torch.nn.utils.prune.

    done: what is to be done to them, as in "layers to prune".
    """
    made = [name for name, layer in layers.items() if "weight" not in layer._parameters and not is_coded(layer)]
    require(not made, f"layers to {done}", f"parametrised ones: {', '.join(made)}", "ones with a weight of their own")


def filled(layer: nn.Module, weight: Tensor, bias: Tensor | None) -> nn.Module:
    """Give the layer copies of these numbers, in place, and return it."""
    layer.register_parameter("weight", nn.Parameter(weight.detach().clone()))
    layer.register_parameter("bias", None if bias is None else nn.Parameter(bias.detach().clone()))
    return layer


def fold(model: nn.Module) -> nn.Module:
    """Turn every coded layer of the model back, in place, into the plain layer with the decoded weight.

    Args:
        model: any network; the layers are those of `code`, `TransformLinear`, frequency layers, masks and binary ones.

    Returns:
        The network, or, where the root itself is such a layer, the plain layer in its place.

    Raises:
        ValueError: for a complex frequency layer, which is no plain one.

    Example:
        >>> model = nn.Sequential(code(nn.Linear(8, 4), Coded("svd", rank=1)))
        >>> fold(model)
        Sequential(
          (0): Linear(in_features=8, out_features=4, bias=True)
        )
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
    """Make the layer plain again, in place; remove_parametrizations would change the class, which its copies share."""
    weight = module.weight
    assert isinstance(weight, Tensor)
    trained = any(array.requires_grad for array in module.parametrizations.parameters())  # type: ignore[union-attr]  # torch types every attribute as Tensor | Module
    module.__class__ = type(module).__mro__[1]
    del module._modules["parametrizations"]
    module.register_parameter("weight", nn.Parameter(weight.detach().clone(), trained))
