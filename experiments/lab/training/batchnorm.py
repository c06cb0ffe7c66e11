"""Choose which BatchNorm statistics a trained network keeps, and measure them."""

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..config import Training

REESTIMATE = 10_000  # images suffice for BatchNorm's statistics (Wu & Johnson 2021, section 3)


def statistics(model: nn.Module, config: Training) -> str:
    """Say which statistics the network will keep; empty without BatchNorm."""
    if not any(isinstance(module, _BatchNorm) for module in model.modules()):
        return ""
    words = {
        "local": "running averages of each process's own batches, the first one's kept",
        "sync": "running averages over the batches of all processes",
        "reestimate": "measured anew on training images before each validation",
    }
    return f"BatchNorm statistics: {words[config.batchnorm]}"
