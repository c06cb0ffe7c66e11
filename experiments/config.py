"""What a run is: one frozen dataclass, the command line of `experiments.run`, the hash that names its folder."""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

KernelNames = Annotated[tuple[str, ...], tyro.conf.arg(metavar="KERNEL [KERNEL ...]")]


@dataclass(frozen=True)
class Network:
    """what is compressed"""

    model: str = "lenet"
    """lenet, lenet5, resnet20, resnet56, or package.module:factory of your own (called with classes= and channels=)"""
    checkpoint: Path | None = None
    """a safetensors file with the network's trained weights"""


@dataclass(frozen=True)
class Data:
    """the images"""

    dataset: str = "digits"
    """digits (comes with scikit-learn, offline), mnist, or folder (train/CLASS/*.jpg and test/CLASS/*.jpg)"""
    data_root: Path | None = None
    """where the dataset lies on disk"""
    image_size: int | None = None
    """resize the images of a folder to this many pixels a side"""
    batch_size: int = 64
    """images per training step"""


@dataclass(frozen=True)
class Compression:
    """how it is compressed"""

    kernel: KernelNames = ("dct", "svd", "spatial")
    """fewer multiplications: svd (k x k, 1 x 1), spatial (k x 1, 1 x k), tucker, cp, cp4, ht;
    fewer numbers: dct, dst, dht, dwt, shannon; each gives a row of the table"""
    layers: Literal["all", "conv", "linear", "fc", "dense"] = "all"
    """which layers may be compressed; fc and dense mean linear"""
    frequency: bool = False
    """train networks of frequency layers from scratch instead of compressing the trained one;
    kernels dct, dst, dft, shannon (the default four), dht, complex_shannon"""
    budget: str | None = None
    """what to keep of the dense network: macs=0.5, params=0.5 or bytes=0.5
    (default: half the MACs, or half the parameters for a kernel that leaves the MACs as they are)"""
    selector: str = "energy"
    """how ranks are chosen: uniform or energy"""

    def __post_init__(self) -> None:
        # here, so that a run has one name whichever synonym was given
        object.__setattr__(self, "layers", {"fc": "linear", "dense": "linear"}.get(self.layers, self.layers))
        if self.frequency and self.kernel == type(self).kernel:
            object.__setattr__(self, "kernel", ("dct", "dst", "dft", "shannon"))


@dataclass(frozen=True)
class Training:
    """how it is trained"""

    max_epochs: int | None = None
    """epochs of the dense network (default: 40 for digits, 3 for mnist, 30 for a folder; with --checkpoint none)"""
    finetune_epochs: int | None = None
    """epochs of each compressed network (default: a quarter of the dense network's, or none with --max-epochs 0)"""
    lr: float = 2e-3
    """peak learning rate of AdamW, one cycle; a quarter of it for fine-tuning"""
    seed: int = 0
    """of the split, the initial weights and the order of the images"""
    rep: bool = False
    """reproducible: deterministic algorithms only; on a CPU the same command gives the same numbers"""
    accelerator: Literal["auto", "cpu", "cuda"] = "auto"
    """where it runs"""


@dataclass(frozen=True)
class Output:
    """where results go; no part of a run's name"""

    out: Path = Path("runs")
    """folder of the run folders"""
    force: bool = False
    """repeat a run that is complete"""


def flat(config: Any) -> dict[str, object]:
    """Every field of a dataclass of groups that decides the result, JSON-able: all groups but `output`."""
    groups = {name: group for name, group in asdict(config).items() if name != "output"}
    return json.loads(json.dumps({k: v for group in groups.values() for k, v in group.items()}, default=str))


def digest(config: Any) -> str:
    """Eight hexadecimal digits; only fields that differ from their defaults count, so a new field renames no run."""
    default = flat(type(config)())
    changed = {key: value for key, value in flat(config).items() if value != default[key]}
    return hashlib.sha256(json.dumps(changed, sort_keys=True).encode()).hexdigest()[:8]


@dataclass(frozen=True)
class Config:
    """Train a network, compress it with each kernel, fine-tune, compare, and write a report."""

    network: Network = field(default_factory=Network)
    data: Data = field(default_factory=Data)
    compression: Compression = field(default_factory=Compression)
    training: Training = field(default_factory=Training)
    output: Output = field(default_factory=Output)

    @property
    def name(self) -> str:
        """dataset-model-hash."""
        return f"{self.data.dataset}-{self.network.model.replace(':', '.')}-{digest(self)}"

    def flat(self) -> dict[str, object]:
        """Every field that decides the result, JSON-able."""
        return flat(self)
