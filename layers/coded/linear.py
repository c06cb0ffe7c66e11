"""A Linear layer under a transform that trains without ever decoding its weight."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .parametrisation import filled
from .transform import Transform


class TransformLinear(nn.Module):
    """y = x (T_0^T Y T_1)^T + bias: a Linear layer that trains the few coefficients Y that a Transform keeps.

    It computes what `code(layer, transform)` does, which decodes the weight in each training step: for 9216 to 4096
    features that costs twenty times the dense step, and transforming the activations next to nothing.

    Args:
        layer: a trained Linear layer, which is left as it is.
        transform: a `Transform` for this layer alone.

    Raises:
        ValueError: for a `keep` that is not 1 to the number of weights.

    Example:
        >>> layer = TransformLinear(nn.Linear(16, 8), Transform("dct", keep=40, axes=(0, 1)))
        >>> layer(torch.ones(3, 16)).shape, layer.values.shape
        (torch.Size([3, 8]), torch.Size([40]))
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
        """Decode the weight (out, in); in eval mode it is cached."""
        return self.transform(self.values)

    def forward(self, input: Tensor) -> Tensor:
        """input W^T + bias, by the cached weight in eval mode without gradients."""
        if self.training or torch.is_grad_enabled():
            y = self.transform.linear(input, self.values)
            return y if self.bias is None else y + self.bias
        return F.linear(input, self.weight, self.bias)

    def materialize(self) -> nn.Module:
        """Return the plain layer with the decoded weight."""
        shape = (self.in_features, self.out_features)
        return filled(nn.Linear(*shape, self.bias is not None, device="meta"), self.weight, self.bias)
