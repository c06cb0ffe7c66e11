"""A Linear layer under a transform that trains without ever decoding its weight."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .parametrisation import filled
from .transform import Transform


class TransformLinear(nn.Module):
    """A trained Linear layer under a Transform; trains in the frequency domain, folds to the layer it came from.

    The same numbers as `code(layer, transform)`, which decodes the weight in each training step: for 9216 to 4096
    features that costs twenty times the dense step, and transforming the activations next to nothing.
    """

    def __init__(self, layer: nn.Linear, transform: Transform) -> None:
        super().__init__()
        self.in_features, self.out_features = layer.in_features, layer.out_features
        (values,) = transform.right_inverse(layer.weight.detach())
        self.transform, self.values = transform, nn.Parameter(values, layer.weight.requires_grad)
        bias = layer.bias
        self.bias = None if bias is None else nn.Parameter(bias.detach().clone(), bias.requires_grad)
        self.train(layer.training)

    @property
    def weight(self) -> Tensor:
        """The decoded weight (out, in), cached in eval."""
        return self.transform(self.values)

    def forward(self, x: Tensor) -> Tensor:
        """x W^T + bias, of the cached weight in eval without gradients."""
        if self.training or torch.is_grad_enabled():
            y = self.transform.linear(x, self.values)
            return y if self.bias is None else y + self.bias
        return F.linear(x, self.weight, self.bias)

    def materialize(self) -> nn.Module:
        """The plain layer with the decoded weight."""
        shape = (self.in_features, self.out_features)
        return filled(nn.Linear(*shape, self.bias is not None, device="meta"), self.weight, self.bias)
