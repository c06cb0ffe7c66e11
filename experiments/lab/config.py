"""What a run is: one frozen dataclass, the command line of `experiments.run`, the hash that names its folder."""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

Batches = Annotated[tuple[int, ...], tyro.conf.arg(metavar="IMAGES [IMAGES ...]")]
Seeds = Annotated[tuple[int, ...], tyro.conf.arg(metavar="SEED [SEED ...]")]
SMALL = 64  # pixels a side, up to which images are seen whole and networks keep the resolution of their first layer
MACHINE = {"workers", "executor"}  # fields that suit a run to its machine and change no result
Judges = Literal["auto", "threads", "processes", "slurm"]
Numbers = Annotated[tuple[float, ...], tyro.conf.arg(metavar="NUMBER [NUMBER ...]")]
StepLists = Annotated[tuple[str, ...], tyro.conf.arg(metavar="'STEP, STEP ...' ['STEP ...' ...]")]
KernelNames = Annotated[tuple[str, ...], tyro.conf.arg(metavar="KERNEL [KERNEL ...]")]


@dataclass(frozen=True)
class Network:
    """what is compressed"""

    model: str = "lenet"
    """lenet, lenet5, convnet, alexnet, vgg16, resnet18, resnet34, resnet50, densenet121, mobilenet_v3_small, resnet20,
    resnet32, resnet44, resnet56, resnet110, or package.module:factory of your own (called with classes= and
    channels=)"""
    checkpoint: Path | None = None
    """a safetensors or .pth file with the network's trained weights"""
    pretrained: bool = False
    """begin with torchvision's ImageNet weights, downloaded, or read from the file given as --checkpoint"""


@dataclass(frozen=True)
class Data:
    """the images"""

    dataset: str = "digits"
    """digits (comes with scikit-learn, offline), mnist, fashion-mnist, cifar10, cifar100, svhn (downloaded into the
    data root), imagenet (train/ and val/), or folder (train/CLASS/*.jpg and test/CLASS/*.jpg)"""
    data_root: Path | None = None
    """where the dataset lies on disk; for imagenet and folder also WebDataset shards: 'DIR/{000..146}.tar'"""
    classes: str | None = None
    """the classes of the network, where folders are named otherwise or are only some of them: a file with a class a
    line, or FOLDER NUMBER a line, or JSON of either; imagenet for the names of its 1,000 classes"""
    calibration_root: Path | None = None
    """a folder of images, without labels and at any depth, that calibrate instead of the training images"""
    image_size: int | None = None
    """resize the images to this many pixels a side (unset: as they are; 224 for imagenet and shards)"""
    mean: Numbers | Literal["none"] | None = None
    """what is taken off the pixels, which lie between 0 and 1: a number for each channel, or none
    (unset: the training images' own; ImageNet's for imagenet and folder; the weights' own with --pretrained)"""
    std: Numbers | Literal["none"] | None = None
    """what they are divided by after that: a number for each channel, or none (unset: as for --mean)"""
    pad: int | Literal["none"] | None = None
    """pixels of zeros on every side, before all else, or none (unset: 2 for mnist and fashion-mnist, else none)"""
    resize: int | Literal["none"] | None = None
    """pixels to which the shorter side is resized before the crop, or none (unset: 8/7 of the image size for images
    on disk, the image size for small ones; the weights' own with --pretrained)"""
    crop: int | Literal["none"] | None = None
    """pixels a side of what is cut out of the middle, or none (unset: the image size, for images on disk)"""
    interpolation: Literal["nearest", "bilinear", "bicubic", "none"] | None = None
    """how images are resized (unset: bilinear); none leaves each as it is stored, digits of 8 pixels too"""
    workers: int | None = None
    """processes that read images from disk (unset: one per core, at most 8); no part of a run's name"""
    batch_size: int = 64
    """images per training step, in each process"""


@dataclass(frozen=True)
class Compression:
    """how it is compressed"""

    kernel: KernelNames = ("dct", "svd", "spatial")
    """fewer multiplications: svd (k x k, 1 x 1), spatial (k x 1, 1 x k), tucker, cp, cp4, ht;
    fewer numbers: dct, dst, dht, dwt, shannon; each gives a row of the table;
    auto: for each layer the best of svd, spatial, tucker, ht and cp, in one row"""
    layers: Literal["all", "conv", "linear", "fc", "dense"] = "all"
    """which layers may be compressed; fc and dense mean linear"""
    frequency: bool = False
    """train networks of frequency layers from scratch instead of compressing the trained one;
    kernels dct, dst, dft, shannon (the default four), dht, complex_shannon"""
    budget: str | None = None
    """what to keep of the dense network: macs=0.5, params=0.5, bytes=0.5, or latency=0.5 of what a forward pass of the
    largest of --latency-batches takes
    (unset: half the MACs, or half the parameters for a kernel that leaves the MACs as they are)"""
    runtime: Literal["torch", "torch-compile", "onnxruntime", "openvino"] = "torch"
    """where a latency is measured, layers and networks: what will serve"""
    runtime_precision: Literal["32", "bf16", "int8"] = "32"
    """in which numbers: bf16 in torch and OpenVINO, int8 in onnxruntime and OpenVINO"""
    runtime_threads: int | None = None
    """of the runtime (unset: as many as torch has)"""
    fold_batchnorm: bool = False
    """measure torch with BatchNorm folded into the layers before it, as other runtimes do by themselves"""
    selector: str | None = None
    """how ranks are chosen: uniform, energy, threshold, evbmf, minimax, or by the predicted rise of the loss: loss
    (unset: loss)"""
    calibration_images: int | None = None
    """training images, drawn by seed and not augmented, for selector loss and for --refit
    (unset: 2000, or 512 of more than 64 pixels; or all there are)"""
    refit: Annotated[bool | None, tyro.conf.arg(constructor=bool)] = None
    """fit every layer's factors to what the dense layer puts out, by least squares on the calibration images
    (unset: with selector loss)"""
    prune_channels: float | None = None
    """take this fraction of its channels out of each of --layers but the last, those of the least L2 norm over all that
    depends on them (torch-pruning); before all else: --kernel and --budget get the thinner network"""
    prune: float | None = None
    """set this fraction of the weights of all --layers together to zero, before fine-tuning, in which they stay zero;
    of the dense network with --kernel None, else of every compressed one"""
    prune_score: Literal["l1", "lamp"] = "l1"
    """which: the smallest (l1), or the smallest against the larger ones of their layer (lamp)"""
    quantise: Literal["half", "binary"] | None = None
    """half: 16 bits after fine-tuning; binary: two values per filter, trained like that (BinaryConnect)"""
    reestimate_batchnorm: bool = False
    """measure BatchNorm statistics anew on the calibration images, before any fine-tuning; the report says so.
    After a refit this has lost 1.8 points, which a warning says"""
    plan: Path | None = None
    """carry out this plan, which `experiments.plan --out` or an earlier run wrote, instead of choosing one"""
    compress: StepLists = ()
    """lists of steps, a row of the table for each, instead of the shorter options above:
    'channels 0.3, spatial macs=0.6, finetune 3, half' (docs/guides/steps.md)"""

    def __post_init__(self) -> None:
        # here, so that a run has one name whichever synonym was given
        object.__setattr__(self, "layers", {"fc": "linear", "dense": "linear"}.get(self.layers, self.layers))
        if self.frequency and self.kernel == type(self).kernel:
            object.__setattr__(self, "kernel", ("dct", "dst", "dft", "shannon"))
        if (self.plan is not None or self.compress) and self.kernel == type(self).kernel:
            object.__setattr__(self, "kernel", ())


@dataclass(frozen=True)
class Training:
    """how it is trained"""

    max_epochs: int | None = None
    """epochs of the dense network (unset: from 3 for mnist to 90 for imagenet; with --checkpoint none)"""
    finetune_epochs: int | None = None
    """epochs of each compressed network (unset: a quarter of the dense network's, or none with --max-epochs 0)"""
    optimizer: Literal["adamw", "sgd"] = "adamw"
    """adamw, or sgd with Nesterov momentum"""
    lr: float = 2e-3
    """peak learning rate; for sgd 0.1 is usual"""
    finetune_lr: float | None = None
    """peak learning rate of fine-tuning (unset: a twentieth of --lr); where no epoch has a higher validation accuracy
    the network stays as it was before"""
    momentum: float = 0.9
    """of sgd"""
    weight_decay: float = 1e-2
    """fraction of the weights taken off per unit of learning rate; for sgd 5e-4 is usual"""
    schedule: Literal["onecycle", "cosine", "step", "constant"] = "onecycle"
    """of the learning rate: up and down once, down along a cosine, times gamma every step-size epochs, or not at all"""
    warmup_epochs: float = 0.0
    """epochs in which the learning rate rises to its peak (0 with onecycle: three tenths of all)"""
    step_size: int = 30
    """epochs between two steps of the schedule step"""
    gamma: float = 0.1
    """factor of each of these steps"""
    label_smoothing: float = 0.0
    """probability that is taken from the label and spread evenly over all classes"""
    mixup: float = 0.0
    """alpha of mixup, which blends pairs of images and labels: 0.2 is usual, 0 is none"""
    cutmix: float = 0.0
    """alpha of cutmix, which pastes a box of one image into another: 1 is usual, 0 is none"""
    ema: float = 0.0
    """decay per step of an average of the weights, which is then what is validated and kept: 0.999, or 0 for none"""
    distill: float = 0.0
    """weight of the dense network's answers, against the labels', in fine-tuning: 0.5, or 0 for none"""
    temperature: float = 4.0
    """that softens the answers in distillation"""
    precision: Literal["32", "bf16", "16"] = "32"
    """bits of the numbers in forward and backward; the weights keep 32"""
    channels_last: bool = False
    """channels innermost in memory: faster convolutions on recent GPUs and CPUs"""
    compile: bool = False
    """torch.compile the network for training"""
    clip: float | None = None
    """largest norm of the gradient of all weights together; with 1, sgd at a rate of 0.1 fine-tunes every kernel"""
    patience: int | None = None
    """stop after so many epochs without a better validation accuracy"""
    devices: int = 1
    """processes on each machine, each with its own GPU, or on a CPU"""
    nodes: int = 1
    """machines; each runs the same command, started by torchrun or Slurm, and sees the same --out"""
    strategy: Literal["auto", "ddp", "fsdp"] = "auto"
    """how several processes share the work: copies of the network (ddp, what auto takes) or parts of it (fsdp)"""
    batchnorm: Literal["local", "sync", "reestimate"] = "local"
    """statistics: each process's own batches, all processes' together, or measured anew before each validation"""
    seed: int = 0
    """of the split, the initial weights and the order of the images"""
    rep: bool = False
    """reproducible: deterministic algorithms only; on a CPU the same command gives the same numbers"""
    accelerator: Literal["auto", "cpu", "cuda"] = "auto"
    """where it runs"""
    executor: Judges = "auto"
    """who judges the layers of a plan, each on its own: threads, processes, or a job of slurm for each layer
    (auto: processes for large networks, else threads); no part of a run's name"""


@dataclass(frozen=True)
class Measurement:
    """how it is measured"""

    latency_batches: Batches = (1, 64)
    """images per forward pass that is timed; each number gives its own columns"""


@dataclass(frozen=True)
class Tracking:
    """where progress is reported; no part of a run's name"""

    track: bool = True
    """to MLflow as well: the server of MLFLOW_TRACKING_URI, or else OUT/mlflow.db"""


@dataclass(frozen=True)
class Output:
    """where results go; no part of a run's name"""

    out: Path = Path("runs")
    """folder of the run folders"""
    force: bool = False
    """repeat a run that is complete"""
    seeds: Seeds = ()
    """make the run once with each of these seeds instead of --seed, and show means and standard deviations"""
    export: Literal["onnx", "pt2"] | None = None
    """write every network for another runtime too: onnx (input `images`, output `logits`), or pt2 for torch.export"""


def flat(config: Any) -> dict[str, object]:
    """Return every field that decides the result of a dataclass of groups, JSON-able: of all groups but two."""
    groups = {name: group for name, group in asdict(config).items() if name not in ("tracking", "output")}
    fields = {k: v for group in groups.values() for k, v in group.items() if k not in MACHINE}
    return json.loads(json.dumps(fields, default=str))


def digest(config: Any) -> str:
    """Return eight hexadecimal digits; only fields not at their defaults count, so a new field renames no run."""
    default = flat(type(config)())
    changed = {key: value for key, value in flat(config).items() if value != default[key]}
    return hashlib.sha256(json.dumps(changed, sort_keys=True).encode()).hexdigest()[:8]


def named(prefix: str, config: Any) -> str:
    """Return PREFIX-dataset-model-hash, the name of what a configuration decides; a run has no prefix."""
    parts = (prefix, config.data.dataset, config.network.model.replace(":", "."), digest(config))
    return "-".join(part for part in parts if part)


@dataclass(frozen=True)
class Config:
    """Train a network, compress it with each kernel, fine-tune, compare, and write a report."""

    network: Network = field(default_factory=Network)
    data: Data = field(default_factory=Data)
    compression: Compression = field(default_factory=Compression)
    training: Training = field(default_factory=Training)
    measurement: Measurement = field(default_factory=Measurement)
    tracking: Tracking = field(default_factory=Tracking)
    output: Output = field(default_factory=Output)

    @property
    def name(self) -> str:
        """Return dataset-model-hash."""
        return named("", self)

    @classmethod
    def of_trained(cls, network: Network, data: Data, training: Training) -> "Config":
        """Return the run of a trained network that compresses nothing itself: where other verbs begin."""
        return cls(network, data, Compression(kernel=()), training)

    def flat(self) -> dict[str, object]:
        """Return every field that decides the result, JSON-able."""
        return flat(self)
