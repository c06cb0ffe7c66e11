"""Write files whole, read tensors, fill networks with them."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import safetensors
import safetensors.torch
from torch import Tensor, nn


def write_text(path: Path, text: str) -> None:
    """Write under a temporary name, then rename: a reader never sees half a file."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A temporary name to write to; it reaches the disk, then `path`, which after a crash is the old file or the new.

    Where writing fails, for lack of room say, the old file is untouched and the temporary one gone.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def read_tensors(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """The tensors of a safetensors file; ValueError if it is cut off or another format."""
    try:
        return safetensors.torch.load_file(str(path))
    except safetensors.SafetensorError as error:
        raise ValueError(f"{path} must be a whole safetensors file, got one that cannot be read ({error})") from None


def load_tensors(model: nn.Module, path: str | os.PathLike[str]) -> None:
    """Fill the model from a safetensors file, in place; ValueError names the tensors that do not fit."""
    fill(model, read_tensors(path), path)


def fill(model: nn.Module, tensors: dict[str, Tensor], path: str | os.PathLike[str]) -> None:
    """Put the tensors of a file into the model, in place; ValueError names those that do not fit."""
    wanted = model.state_dict()
    # tied tensors are saved once, so a name may be absent if one of its aliases is there
    alias = {name: tensor.data_ptr() for name, tensor in wanted.items() if tensor.numel()}
    present = {alias[name] for name in tensors if name in alias}
    wrong = [f"{name} is missing" for name in wanted if name not in tensors and alias.get(name) not in present]
    wrong += [f"{name} is not in the model" for name in tensors if name not in wanted]
    wrong += [
        f"{name} has shape {tuple(tensors[name].shape)} instead of {tuple(tensor.shape)}"
        for name, tensor in wanted.items()
        if name in tensors and tensors[name].shape != tensor.shape
    ]
    if wrong:
        more = f" and {len(wrong) - 5} more" if len(wrong) > 5 else ""
        raise ValueError(f"{path} must hold the tensors of {type(model).__name__}, got: {'; '.join(wrong[:5])}{more}")
    model.load_state_dict(tensors, strict=False)
