"""Networks of frequency layers, which are trained from scratch instead of compressed."""

from lightning import seed_everything
from torch import nn

from checks import require
from layers import frequency_layers
from layers.frequency import BASES

from ..config import Config
from ..data import Dataset
from ..models import build


def check_frequency(config: Config) -> None:
    """Refuse kernels that are no basis of frequency layers."""
    for kernel in config.compression.kernel:
        require(kernel in BASES, "kernel", kernel, f"one of {', '.join(BASES)} with --frequency")


def frequency_network(config: Config, dataset: Dataset, kernel: str, size: int) -> nn.Module:
    """Make a fresh network of frequency layers, the same whichever kernels went before."""
    seed_everything(config.training.seed, verbose=False)
    model = build(config.network.model, len(dataset.classes), dataset.channels, size)
    return frequency_layers(model, kernel, config.compression.layers)
