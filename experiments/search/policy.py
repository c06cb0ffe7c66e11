"""The policy: a few coefficients say how much each layer's predicted loss weighs when the budget is spent."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from layers.factored import Form
from layers.planning import Survey, Weight

# Standard deviation, before the first trial, of each coefficient.  The plan of selector `loss` is near the best: with
# twice as much, an early trial of ResNet-20 at 35 % of its MACs lost 4 points of accuracy.
SPREAD = 0.2
LIMIT = 3.0  # of a coefficient's size


class Policy(NamedTuple):
    """Kernel k of layer l weighs exp(sum_f c_f z_lf + c_k), z the features over layers, each of mean 0 and variance 1.

    With all coefficients 0 the plan is that of selector `loss`.
    """

    features: dict[str, dict[str, float]]  # layer -> name of a coefficient -> what it multiplies
    kernels: dict[str, str]  # kernel -> its coefficient; the first has none: its is 0, the others' relative to it
    spreads: dict[str, float]  # coefficient -> its standard deviation before the first trial

    @classmethod
    def of(cls, survey: Survey, kernels: Sequence[str], residual: float = 0.0) -> "Policy":
        """Make the policy of a survey by predicted loss.  Layers without a choice have no say.

        sensitivity: the logarithm of the predicted loss at half the layer's cost; size: that of its parameters.
        residual: the spread of a coefficient for each layer alone, if above 0.
        """
        free = [layer for layer in survey.layers if len(layer.forms) > 1]
        columns = {
            "sensitivity": normalised(logarithms([sensitivity(layer.forms) for layer in free])),
            "size": normalised(logarithms([layer.forms[-1].cost.params for layer in free])),
        }
        features = {}
        for place, layer in enumerate(free):
            own = {f"layer {layer.name}": 1.0} if residual else {}
            features[layer.name] = {name: float(column[place]) for name, column in columns.items()} | own
        offsets = {kernel: f"kernel {kernel}" for kernel in kernels[1:]}
        spreads = dict.fromkeys([*columns, *offsets.values()], SPREAD)
        spreads |= {f"layer {layer.name}": residual for layer in free if residual}
        return cls(features, offsets, spreads)

    def weight(self, coefficients: Mapping[str, float]) -> Weight:
        """Return what a survey's plans weigh errors by."""

        def weight(layer: str, kernel: str) -> float:
            of_layer = sum(coefficients[name] * z for name, z in self.features[layer].items())
            return math.exp(of_layer + (coefficients[self.kernels[kernel]] if kernel in self.kernels else 0.0))

        return weight


def sensitivity(forms: Sequence[Form]) -> float:
    """Return the least error at no more than half the dense layer's price, or at the cheapest; dense comes last."""
    within = max(forms[-1].price / 2, min(form.price for form in forms))
    return min(form.error for form in forms if form.price <= within)


def logarithms(values: Sequence[float]) -> np.ndarray:
    """Return natural logarithms; what is not above 0 counts as the least that is."""
    positive = [value for value in values if value > 0]
    return np.log(np.maximum(np.asarray(values, dtype=float), min(positive, default=1.0)))


def normalised(values: np.ndarray) -> np.ndarray:
    """Scale to mean 0 and variance 1; a constant gives 0."""
    centred = values - values.mean()
    deviation = centred.std()
    return centred / deviation if deviation > 1e-9 else np.zeros(len(values))
