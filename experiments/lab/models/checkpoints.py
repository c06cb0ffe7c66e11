"""Read checkpoints in the forms that training scripts write them, by what they hold and not by how they are named."""

import argparse
import logging
import pathlib
import re
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy._core.multiarray import _reconstruct, scalar
from torch import Tensor, nn

from checks import require
from layers.network import fill_network, read_tensors

log = logging.getLogger(__name__)
ZIP, LEGACY = b"PK\x03\x04", b"\x80\x02\x8a\nl\xfc\x9cF"  # how a file of torch.save begins, since torch 1.6 and before
PICKLE = b"\x80"  # how any other pickle does
NESTS = ("state_dict", "model", "model_state_dict", "net", "network")  # where the weights are looked for first
AVERAGED = re.compile(r"ema|swa|avg|averag|teacher", re.IGNORECASE)  # and last: beside the weights, their average
WRAPPERS = {"module", "_orig_mod", "model", "net", "network", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}
INNER = re.compile(r"\b(module|_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")  # around a part of it
OLD_DENSENET = re.compile(r"(denselayer\d+\.(?:norm|conv))\.(\d\.)")  # norm.1.weight was renamed norm1.weight
RENAMINGS: tuple[Callable[[str], str], ...] = (
    str,
    lambda name: OLD_DENSENET.sub(r"\1\2", name),
    lambda name: INNER.sub("", name),
)
PLAIN: tuple[Callable[..., Any], ...] = (  # of what scripts keep beside the weights: plain data, which no code makes
    argparse.Namespace,
    pathlib.PosixPath,
    np.dtype,
    np.ndarray,
    scalar,
    _reconstruct,
    *(type(np.dtype(kind)) for kind in (np.float64, np.float32, np.int64, np.int32, np.bool_)),
)

Groups = dict[str, dict[str, Tensor]]  # where tensors are in a file -> name -> tensor


def _reason(error: Exception) -> str:
    """Say why torch does not read a file, without its advice to load the file in a way that may run code."""
    words = str(error)
    if "TorchScript" in words:
        return "it is a scripted network"
    if "not in a subdirectory" in words or "locating file data.pkl" in words:
        return "it is an archive, but none of torch.save"  # of torch.export, NumPy, or any zip
    if named := re.search(r"(?:GLOBAL|global|class|function) <?(?:class |built-in function )?'?([\w.]+)", words):
        return f"it holds {named[1]}, which is no tensor and could run code: save model.state_dict()"
    return "it is cut off, damaged, or holds more than tensors"


def _groups(content: object, depth: int = 3) -> Groups:
    """Return every dictionary with tensors under names, by the keys that lead to it, down to `depth`."""
    if not isinstance(content, dict):
        return {}
    tensors = {name: value for name, value in content.items() if isinstance(name, str) and isinstance(value, Tensor)}
    groups = {"": tensors} if tensors else {}
    for key, value in content.items() if depth else ():
        if isinstance(key, str):
            groups |= {f"{key}.{below}".rstrip("."): group for below, group in _groups(value, depth - 1).items()}
    return groups


def _rank(key: str) -> tuple[bool, int]:
    """Return what sorts the places in a file: averages last, the usual places first."""
    return bool(AVERAGED.search(key)), NESTS.index(key) if key in NESTS else -1 if not key else len(NESTS)


def read_groups(path: Path) -> Groups:
    """Read the tensors of a safetensors file or of one that torch.save wrote, wherever in it they are; nothing else.

    The format is told by the first bytes.  Torch's own is read with weights_only: what could run code is refused.
    ValueError in one sentence for a file that is missing, damaged, or holds no tensors.
    """
    require(path.exists(), "checkpoint", str(path), "a file that exists")
    require(path.is_file(), "checkpoint", str(path), "a file, not a folder")
    with path.open("rb") as file:
        head = file.read(9)
    if not head.startswith((ZIP, LEGACY)) and (head[8:] == b"{" or path.suffix == ".safetensors"):
        return {"": read_tensors(path)}  # whose first eight bytes are the length of a header in JSON
    require(head.startswith((ZIP, PICKLE)), "checkpoint", str(path), "a safetensors file or one that torch.save wrote")
    try:
        with path.open("rb") as file, torch.serialization.safe_globals([*PLAIN]), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what it meets: whatever is no plain tensor is refused here
            content = torch.load(file, map_location="cpu", weights_only=True)
    except (
        Exception
    ) as error:  # of a damaged file torch's reader may raise anything, AssertionError and struct.error too
        raise ValueError(
            f"checkpoint must be a whole .pth file of tensors alone, got {path} ({_reason(error)})"
        ) from None
    groups = _groups(content)
    require(bool(groups), "checkpoint", str(path), "a file of a state_dict, name by name a tensor")
    return {key: groups[key] for key in sorted(groups, key=_rank)}


class Reading(NamedTuple):
    """One way to read the names of a file: the tensors behind `prefix`, after the `renaming`-th of RENAMINGS."""

    renaming: int
    prefix: str
    tensors: dict[str, Tensor]


def _readings(names: list[str], tensors: dict[str, Tensor]) -> Iterator[Reading]:
    """Yield the file's names as they are, and behind each prefix that the first or last of `names` has in the file."""
    for renaming, rename in enumerate(RENAMINGS):
        renamed = {rename(name): tensor for name, tensor in tensors.items()}
        ends = [(name, end) for end in {*names[:1], *names[-1:]} for name in renamed if f".{name}".endswith(f".{end}")]
        for prefix in {"", *(name.removesuffix(end) for name, end in ends)}:
            behind = {name: tensor for name, tensor in renamed.items() if name.startswith(prefix)}
            yield Reading(renaming, prefix, {name.removeprefix(prefix): tensor for name, tensor in behind.items()})


def named_for(model: nn.Module, groups: Groups, path: Path) -> dict[str, Tensor]:
    """Return the tensors whose names are those of the model, once a prefix that all of them have is taken off.

    DistributedDataParallel, torch.compile, Lightning and averages of weights put one before each name.  Where no names
    fit, those that fit best.  ValueError where two networks of one file fit alike.
    """
    wanted = model.state_dict().keys()
    choices = []
    for order, (key, tensors) in enumerate(groups.items()):
        for reading in _readings(list(wanted), tensors):
            foreign = not set(filter(None, reading.prefix.split("."))) <= WRAPPERS
            merit = len(wanted ^ reading.tensors.keys()), order, foreign
            choices.append((merit, reading.renaming, len(reading.prefix), reading.prefix, key, reading.tensors))
    merit, _, _, prefix, key, tensors = min(choices, key=lambda choice: choice[:4])
    alike = sorted({choice[3] for choice in choices if choice[0] == merit})
    allowed = f"of one network, not of {', '.join(alike)}"
    require(len(alike) == 1 or not merit[-1], "checkpoint", str(path), allowed)
    if key or prefix:
        others = [other for other in groups if other != key and groups[other].keys() == groups[key].keys()]
        beside = f"; beside them are {', '.join(others)}" if others else ""
        log.info("%s: the weights are %s%s", path.name, " ".join(filter(None, (key, prefix and f"{prefix}*"))), beside)
    return tensors


def check_tensors(model: nn.Module, tensors: dict[str, Tensor], path: Path) -> None:
    """Refuse, by its name, a tensor that is not of floating numbers where the model's is, or not finite."""
    own, parameters = model.state_dict(), {name for name, _ in model.named_parameters(remove_duplicate=False)}
    for name, tensor in tensors.items():
        kind = "quantised" if tensor.is_quantized else str(tensor.layout).removeprefix("torch.")
        require(kind == "strided", f"{name} of {path}", kind, "a dense tensor")
        require(not tensor.is_meta, f"{name} of {path}", "a tensor of the meta device", "one with numbers")
        if name not in own or not own[name].is_floating_point():
            continue
        require(tensor.is_floating_point(), f"{name} of {path}", str(tensor.dtype), "of floating numbers")
        nan, infinite = int(tensor.isnan().sum()), int(tensor.isinf().sum())
        infinite *= name in parameters  # a buffer may mask by -inf
        require(nan + infinite == 0, f"{name} of {path}", f"{nan} NaN, {infinite} infinite", "finite numbers")


def fill_from(model: nn.Module, groups: Groups, path: Path) -> None:
    """Fill the model, in place, from what was read of `path`; ValueError names what does not fit."""
    tensors = named_for(model, groups, path)
    check_tensors(model, tensors, path)
    # torch before 0.4.1 kept no counts of batches
    counts = {name: count for name, count in model.state_dict().items() if name.endswith("num_batches_tracked")}
    fill_network(model, tensors if counts.keys() & tensors.keys() else counts | tensors, path)


def load_checkpoint(model: nn.Module, path: Path) -> None:
    """Fill the model, in place, from a file in any of the forms above; ValueError names what does not fit."""
    fill_from(model, read_groups(path), path)
