"""Refuse options before anything is loaded: numbers out of range, and options that have no effect beside others."""

import importlib.util
import math
import shutil
from collections.abc import Callable, Iterator
from dataclasses import fields
from typing import NamedTuple

from checks import require

from .config import Compression, Config, Data, Measurement, Network, Training

LEAST = {  # field -> its least value, None allowed
    "image_size": 1,
    "workers": 0,
    "batch_size": 1,
    "max_epochs": 0,
    "finetune_epochs": 0,
    "warmup_epochs": 0,
    "step_size": 1,
    "weight_decay": 0,
    "mixup": 0,
    "cutmix": 0,
    "patience": 1,
    "devices": 1,
    "nodes": 1,
}
ABOVE_0 = ("lr", "finetune_lr", "gamma", "temperature", "clip")
BELOW_1 = ("momentum", "label_smoothing", "ema")
OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")  # CUDA, and torch's on a CPU
SERVED = ("runtime", "runtime_precision", "runtime_threads", "fold_batchnorm")  # where a latency is measured
STEPS = (
    *("optimizer", "lr", "momentum", "weight_decay", "schedule", "warmup_epochs", "step_size", "gamma"),
    *("label_smoothing", "mixup", "cutmix", "ema", "distill", "temperature", "clip", "patience"),
)


def out_of_memory(error: BaseException) -> bool:
    """Tell whether an error says that memory ran out, on a card or on the machine."""
    return isinstance(error, MemoryError) or any(words in str(error).lower() for words in OUT_OF_MEMORY)


def check_ranges(group: Data | Training) -> None:
    """Refuse numbers that no data set and no training can use."""
    for name in (field.name for field in fields(group)):
        value, words = getattr(group, name), name.replace("_", " ")
        if value is None or isinstance(value, bool | str) or not isinstance(value, int | float):
            continue
        if name in LEAST:
            require(LEAST[name] <= value < math.inf, words, value, f"at least {LEAST[name]}")
        elif name in ABOVE_0:
            require(0 < value < math.inf, words, value, "above 0")
        elif name in BELOW_1:
            require(0 <= value < 1, words, value, "from 0 to below 1")
        elif name == "distill":
            require(0 <= value <= 1, words, value, "from 0 to 1")
        elif name == "seed":
            require(0 <= value < 2**32, words, value, "from 0 to below 2^32")


class Idle(NamedTuple):
    """Options that have no effect where `idle` holds of a configuration, and why."""

    options: tuple[str, ...]
    idle: Callable[[Config], bool]
    why: str


def _treated(config: Config) -> bool:
    given = config.compression
    return bool(given.compress) or (given.prune, given.quantise, given.prune_channels) != (None, None, None)


def _listed(config: Config) -> bool:
    return bool(config.compression.compress)


def _nothing_compressed(config: Config) -> bool:
    return _no_kernel(config) and not _treated(config)


def _no_kernel(config: Config) -> bool:
    return not config.compression.kernel and config.compression.plan is None


def _not_trained(config: Config) -> bool:
    """Whether there is no epoch; of --pretrained the last layer may be trained, which the images decide."""
    training, network = config.training, config.network
    given = training.max_epochs is None and network.checkpoint is not None and not network.pretrained
    return (given or training.max_epochs == 0) and not _fine_tuned(config) and not config.compression.frequency


def _fine_tuned(config: Config) -> bool:
    training, lists = config.training, config.compression.compress
    if lists:
        return any("finetune" in words for words in lists)
    epochs = training.max_epochs != 0 if training.finetune_epochs is None else training.finetune_epochs > 0
    return epochs and not _nothing_compressed(config)


def _frequency(config: Config) -> bool:
    return config.compression.frequency


def _not_timed(config: Config) -> bool:
    return not (config.compression.budget or "").startswith("latency")


IDLE = (
    Idle(
        (
            *("prune_channels", "prune", "quantise", "budget", "selector", "refit", "calibration_images"),
            *("reestimate_batchnorm", "finetune_epochs", "finetune_lr", "distill", "plan"),
        ),
        _frequency,
        "with --frequency, whose networks are trained from scratch",
    ),
    Idle(
        (
            *("budget", "selector", "refit", "layers", "prune", "prune_score", "prune_channels", "quantise"),
            *("reestimate_batchnorm", "plan", "finetune_epochs", "frequency"),
            *SERVED,
        ),
        _listed,
        "with --compress, whose steps say it",
    ),
    Idle(("budget", "selector", "refit"), _no_kernel, "without a --kernel"),
    Idle(
        ("calibration_images", "reestimate_batchnorm", "layers"),
        _nothing_compressed,
        "without a --kernel, --prune, --prune-channels or --quantise",
    ),
    Idle(
        ("budget", "selector", "layers"),
        lambda config: config.compression.plan is not None,
        "with --plan, which has it",
    ),
    Idle(SERVED, _not_timed, "but with --budget latency="),
    Idle(("prune_score",), lambda config: config.compression.prune is None, "without --prune"),
    Idle(("distill", "finetune_lr"), lambda config: not _fine_tuned(config), "where no network is fine-tuned"),
    Idle(STEPS, _not_trained, "where nothing is trained"),
    Idle(("temperature",), lambda config: not config.training.distill, "without --distill"),
    Idle(("momentum",), lambda config: config.training.optimizer != "sgd", "without --optimizer sgd"),
    Idle(("step_size", "gamma"), lambda config: config.training.schedule != "step", "without --schedule step"),
    Idle(("data_root",), lambda config: config.data.dataset == "digits", "with dataset digits, which needs none"),
)


def check_effects(config: Config) -> None:
    """Refuse options that were given and would change nothing: whoever gave them expects that they do."""
    given = dict(_given(config))
    for rule in IDLE:
        names = [name for name in rule.options if name in given]
        if names and rule.idle(config):
            name = names[0]
            require(False, name.replace("_", " "), given[name], f"left out {rule.why}")


def _given(config: Config) -> Iterator[tuple[str, object]]:
    """Name and value of every option that is not at its default."""
    groups: tuple[Network | Data | Compression | Training | Measurement, ...]
    groups = (config.network, config.data, config.compression, config.training, config.measurement)
    for group in groups:
        usual = type(group)()
        for field in fields(group):
            value = getattr(group, field.name)
            if value != getattr(usual, field.name):
                yield field.name, value


def check_slurm(executor: str) -> None:
    """Refuse jobs of Slurm on a machine without it, or without what submits them."""
    there = executor != "slurm" or shutil.which("sbatch") is not None
    require(there, "executor", executor, "auto, threads or processes on a machine without Slurm's sbatch")
    installed = executor != "slurm" or importlib.util.find_spec("submitit") is not None
    require(installed, "executor", executor, "one that is installed: pip install -e '.[slurm]'")


def check_options(config: Config) -> None:
    """Refuse, before anything is loaded, what no run can obey."""
    check_slurm(config.training.executor)
    check_ranges(config.data)
    check_ranges(config.training)
    network, training, sizes = config.network, config.training, config.measurement.latency_batches
    given = network.checkpoint is not None or network.pretrained
    require(given or training.max_epochs != 0, "max epochs", 0, "at least 1 without a --checkpoint or --pretrained")
    distinct = len(set(sizes)) == len(sizes) >= 1
    require(distinct and min(sizes) >= 1, "latency batches", sizes, "one or more distinct numbers of at least 1")
    kernels = config.compression.kernel
    require(len(set(kernels)) == len(kernels), "kernel", kernels, "distinct names")
    require(config.compression.plan is None or not kernels, "kernel", kernels, "left out with --plan, which has them")
    require(not _listed(config) or not kernels, "kernel", kernels, "left out with --compress, whose steps say it")
    plan = config.compression.plan
    require(plan is None or plan.is_file(), "plan", str(plan), "a file that exists")
    seeds = config.output.seeds
    require(len(set(seeds)) == len(seeds), "seeds", seeds, "distinct")
    require(all(0 <= seed < 2**32 for seed in seeds), "seeds", seeds, "from 0 to below 2^32")
    require(not seeds or training.seed == 0, "seed", training.seed, "left out with --seeds")
    processes = training.devices * training.nodes
    require(not seeds or processes == 1, "devices x nodes", processes, "1 with --seeds: give a command for each seed")
    if _frequency(config):
        require(training.max_epochs != 0, "max epochs", 0, "at least 1 with --frequency")
