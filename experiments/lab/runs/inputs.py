"""What a run reads that its name does not tell: the content of files, and what its defaults meant when it was made.

A name is a hash of the options, in which a checkpoint, a data root and a network's module are only paths.  So a run
keeps a digest of what was behind them, and is held against it before its results are shown again.
"""

import hashlib
import os
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..config import Config, Data
from ..data.folders import names_below
from ..data.images import EXTENSIONS

if TYPE_CHECKING:  # what runs it needs half a second to load, and most who come here have no study
    from optuna.study import Study

IDX = {"mnist": "MNIST/raw", "fashion-mnist": "FashionMNIST/raw"}  # CIFAR and SVHN are compared with published MD5s
WHOLE = 64 * 2**20  # bytes; of a larger file of data its size, first and last million count
MILLION = 2**20
READ, SIZED = 2_000, 100_000  # files: of more than READ the names and sizes count, of more than SIZED the names alone

EARLIER_FILES = {"checkpoint": "an earlier checkpoint", "data": "earlier images", "code": "earlier code of the network"}
EARLIER_FILES |= {"classes": "an earlier list of classes", "calibration": "earlier images to calibrate"}
EARLIER = {"selector": "energy", "fine-tuning": "lr / 4, the last of equal epochs"}  # the defaults before version 2
NOW = {"selector": "loss", "fine-tuning": "lr / 20, or as it was where no epoch is better"}


def inputs(config: Config) -> dict[str, Any]:
    """Return {"checkpoint", "data", "code": a digest, "defaults": what they mean}, of each what the run depends on."""
    network = config.network
    digests = {
        "checkpoint": None if network.checkpoint is None else of_file(network.checkpoint),
        "data": of_data(config.data),
        "code": of_code(network.model),
        "classes": None if config.data.classes is None else of_file(Path(config.data.classes)),
        "calibration": of_unlabelled(config.data),
    }
    return {name: digest for name, digest in digests.items() if digest} | {"defaults": defaults(config, NOW)}


def defaults(config: Config, meaning: Mapping[str, str]) -> dict[str, str]:
    """Return the part of `meaning` that decides this run: what it leaves open."""
    compression, training = config.compression, config.training
    planned = () if compression.frequency else compression.kernel
    tuned = bool(planned or compression.prune or compression.quantise or compression.prune_channels)
    tuned &= training.finetune_epochs != 0 and (training.max_epochs != 0 or training.finetune_epochs is not None)
    tuned |= any("finetune" in steps for steps in compression.compress)
    open_to = {
        "selector": compression.selector is None and any(kernel != "auto" for kernel in planned),
        "fine-tuning": training.finetune_lr is None and tuned,
    }
    return {name: meaning[name] for name, applies in open_to.items() if applies}


def changes(config: Config, made: Mapping[str, Any] | None, since: float | None = None) -> list[str]:
    """Say, a phrase each, in what the inputs differ from those that a run was made with.

    Args:
        config: the run.
        made: its `inputs` as they were kept; None for a run from before any were.
        since: when that run was complete, in seconds since the epoch: then a younger checkpoint counts as changed.
    """
    now, before = inputs(config), made or {}
    paths = {"checkpoint": config.network.checkpoint, "data": config.data.data_root, "code": config.network.model}
    paths |= {"classes": config.data.classes, "calibration": config.data.calibration_root}
    phrases = [
        f"{EARLIER_FILES[name]} ({paths[name]} has changed since)"
        for name in paths
        if name in before and name in now and before[name] != now[name]
    ]
    checkpoint = config.network.checkpoint
    if made is None and since is not None and checkpoint is not None and _modified(checkpoint) > since:
        phrases.append(f"an earlier checkpoint ({checkpoint} has changed since)")
    earlier = before.get("defaults", defaults(config, EARLIER))
    for name, meaning in now["defaults"].items():
        if name in earlier and earlier[name] != meaning:
            phrases.append(f"an earlier default of {name} ({earlier[name]}, now {meaning})")
    return phrases


def changes_of_study(study: "Study", config: Config) -> list[str]:
    """Say as `changes` in what the files differ from those of a study's first worker, which are kept with the study.

    It is said, not refused: machines that share a study may hold the same images in other files.
    """
    made = study.user_attrs.get("inputs")
    if made is None:
        study.set_user_attr("inputs", inputs(config))
    return [] if made is None else changes(config, made)


def of_file(path: Path) -> str | None:
    """Return a digest of the content; None where there is no such file."""
    if not path.is_file():
        return None
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def of_code(model: str) -> str | None:
    """Return a digest of the Python files of `package.module:factory`'s package; None for a network of ours.

    Nothing is imported but the packages above the module.
    """
    module, colon, _ = model.partition(":")
    top = find_spec(module.partition(".")[0]) if colon else None
    if top is None:
        return None
    folders = [Path(folder) for folder in top.submodule_search_locations or ()]
    sources = sorted(path for folder in folders for path in folder.rglob("*.py"))
    if not folders and top.origin is not None:
        sources = [Path(top.origin)]
    sha = hashlib.sha256()
    for path in sources:
        if path.is_file():
            sha.update(f"{path.name}\n".encode() + path.read_bytes())
    return sha.hexdigest()[:16]


def of_data(data: Data) -> str | None:
    """Return a digest of the images behind the data root, cheap also for a million of them; None without a root."""
    if data.data_root is None or data.dataset in ("cifar10", "cifar100", "svhn"):
        return None
    paths = sorted(_files(data.data_root, data.dataset))
    sha = hashlib.sha256()
    for path in paths:
        sha.update(os.fsencode(path) + b"\n")
        if len(paths) <= SIZED:
            sha.update(f"{path.stat().st_size}\n".encode())
        if len(paths) <= READ:
            _add(sha, path)
    return sha.hexdigest()[:16] if paths else None


def of_unlabelled(data: Data) -> str | None:
    """Return a digest of the names and sizes of the images below the calibration root; None without one."""
    root = data.calibration_root
    if root is None:
        return None
    names = sorted(name for name in names_below(root) if name.lower().endswith(EXTENSIONS))
    return hashlib.sha256(repr([(name, (root / name).stat().st_size) for name in names]).encode()).hexdigest()[:16]


def _files(root: Path, dataset: str) -> Iterator[Path]:
    """Yield the files that the dataset reads; what else lies there does not count."""
    if root.suffix == ".tar":  # shards, named by a pattern
        yield from root.parent.glob("*.tar")
        return
    below = root / IDX.get(dataset, "")
    for name in names_below(below):
        if name.lower().endswith(EXTENSIONS) or (dataset in IDX and name.endswith("-ubyte")):
            yield below / name


def _add(sha: Any, path: Path) -> None:
    with path.open("rb") as file:
        if path.stat().st_size <= WHOLE:
            sha.update(file.read())
            return
        sha.update(file.read(MILLION))
        file.seek(-MILLION, os.SEEK_END)
        sha.update(file.read())


def _modified(path: Path) -> float:
    return path.stat().st_mtime if path.is_file() else 0.0
