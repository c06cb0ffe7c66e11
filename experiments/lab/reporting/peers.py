"""What others lose without a gradient step: the points that figures and tables set beside ours.

`measured`: by this project, with the authors' code or, for the plain SVD, its own, on the very network that
`dense` is the accuracy of: ResNet-20 on CIFAR-10 stored as JPEG, the whole test set.
Else published, of a network of its authors: to be read as a drop from their dense accuracy.
"""

from typing import NamedTuple

CIFAR10 = {"airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"}


class Peer(NamedTuple):
    """A method's curve for one network: fraction kept of a cost -> top-1 in percent."""

    name: str
    model: str
    metric: str
    dense: float
    top1: dict[float, float]
    measured: bool
    source: str

    @property
    def label(self) -> str:
        """Say whose numbers these are, for a legend."""
        return f"{self.name}, {'measured here' if self.measured else f'published, dense {self.dense:g}'}"


def _drops(dense: float, points: dict[float, float]) -> dict[float, float]:
    return {round(1 - removed / 100, 4): round(dense - drop, 2) for removed, drop in points.items()}


# The figure of ALDS and the table of FVRCP as the authors of BALF have them: davidgonmar/BALF, other-works-results.md
PEERS = [
    Peer(
        "BALF",
        "resnet20",
        "macs",
        88.28,
        {0.70: 83.18, 0.50: 70.46, 0.35: 32.36, 0.25: 18.55},
        True,
        "arXiv 2509.25136, 2025, with the code of davidgonmar/BALF, mean of 3 draws of 2,000 images",
    ),
    Peer("plain SVD", "resnet20", "macs", 88.28, {0.70: 59.9, 0.50: 14.1}, True, "of the weight, every layer alike"),
    Peer(
        "FVRCP",
        "resnet20",
        "macs",
        92.50,
        _drops(92.50, {5.0: 0.0, 12.3: 1.25, 19.8: 2.5, 29.5: 5.83, 39.4: 12.4, 49.4: 24.9}),
        False,
        "channel pruning, read from a figure by davidgonmar/BALF, other-works-results.md",
    ),
    Peer(
        "ALDS",
        "resnet20",
        "params",
        91.39,
        _drops(91.39, {9.9: -0.09, 17.4: 0.4, 23.7: 1.5, 30.0: 3.37, 35.7: 5.24, 45.3: 10.5, 50.0: 25.2}),
        False,
        "Liebenwein et al. 2021, figure 5a, read by davidgonmar/BALF, other-works-results.md",
    ),
]


def peers(model: str, classes: list[str], metric: str) -> list[Peer]:
    """Return those that may stand beside measurements of this network: the same model, the ten classes of CIFAR-10."""
    if {name.lower() for name in classes} != CIFAR10:
        return []
    return [peer for peer in PEERS if (peer.model, peer.metric) == (model, metric)]
