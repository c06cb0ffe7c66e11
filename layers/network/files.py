"""Write files and folders whole, read tensors, fill networks with them."""

import os
import secrets
import shutil
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor, nn

from checks import require

from ..loader import fill, read, room

PARTIAL = ".partial-"  # begins the name of what is being written
LARGEST = 2**32  # bytes of the tensors of a packed file that is read for no network in particular


def _partial(path: Path) -> Path:
    """A hidden name beside `path` that no other writer takes, on this machine or another."""
    return path.with_name(f"{PARTIAL}{os.getpid()}-{secrets.token_hex(4)}-{path.name}")


def remove_partial(folder: Path) -> None:
    """Remove what killed writers left in the folder, and nothing else."""
    for path in folder.glob(f"{PARTIAL}*"):
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)


@contextmanager
def whole(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary name to write to; it reaches the disk, then `path`: after a crash the old file or the new.

    Where writing fails, for lack of room say, the old file is untouched and the temporary one gone.  The file gets the
    permissions that the umask leaves, whatever the writer gives it.  A link stays one, to the new file.
    """
    path = Path(os.path.realpath(path))
    temporary = _partial(path)
    try:
        with temporary.open("xb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
        yield temporary
        temporary.chmod(mode)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: str | os.PathLike[str], names: Sequence[str]) -> Iterator[Path]:
    """Give a temporary folder to fill with files of these names; then `path` has them, and what else lay there stays.

    A folder that is not there appears whole.  In one that is there all of `names` are replaced, and removed where the
    writer left them out; the last one, without which nobody reads the rest, goes first and comes last: after a crash
    it is missing, and old and new files are never taken for one.
    """
    path = Path(os.path.realpath(path))
    anew = not path.exists()
    created = [parent for parent in path.parents if not parent.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _partial(path if anew else path / path.name)  # inside: what is beside may be another disk
    try:
        temporary.mkdir()
        yield temporary
        if anew:
            temporary.replace(path)
        else:
            for name in (names[-1], *(name for name in names if not (temporary / name).exists())):
                (path / name).unlink(missing_ok=True)
            for name in names:
                if (temporary / name).exists():
                    (temporary / name).replace(path / name)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        if not path.exists():
            with suppress(OSError):  # another writer may have put something there
                for parent in created:
                    parent.rmdir()


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a text file whole."""
    with whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def tensors_of(model: nn.Module) -> tuple[dict[str, Tensor], dict[str, str]]:
    """(the tensors of a network's state, of tied ones one, each view in full; the other names of the tied ones).

    ValueError for what a file cannot hold, such as tensors without numbers on the meta device.
    """
    state = model.state_dict()
    for name in sorted(state):
        tensor, allowed = state[name], "dense tensors with numbers, on a device that has them"
        held = isinstance(tensor, Tensor) and tensor.layout is torch.strided and not tensor.is_quantized
        require(held and not tensor.is_meta, f"state of {type(model).__name__}: {name}", _kind(tensor), allowed)
    kept: dict[tuple, str] = {}  # what a tensor is -> the first name of it
    first = {name: kept.setdefault(_identity(state[name]), name) for name in sorted(state)}
    memory = [state[name].untyped_storage().data_ptr() for name in kept.values()]
    tensors = {
        name: state[name].clone(memory_format=torch.contiguous_format) if memory.count(place) > 1 else state[name]
        for name, place in zip(kept.values(), memory)
    }
    tensors = {name: tensors[name].contiguous() for name in state if name in tensors}
    return tensors, {name: other for name, other in first.items() if other != name}


def write_tensors(model: nn.Module, path: str | os.PathLike[str], metadata: Mapping[str, str] | None = None) -> None:
    """Write the state of a network as a safetensors file, whole and every number as it is; ValueError as `tensors_of`.

    `write_network` writes a smaller one.
    """
    tensors, aliases = tensors_of(model)
    with whole(path) as temporary:
        safetensors.torch.save_file(tensors, str(temporary), {**aliases, **(metadata or {})} or None)


def _identity(tensor: Tensor) -> tuple:
    """Equal for tensors that are the same numbers in the same memory; those without numbers are all different."""
    place = tensor.data_ptr() if tensor.numel() else id(tensor)
    return place, tensor.device, tensor.dtype, tensor.shape, tensor.stride()


def _kind(value: object) -> str:
    """What a value of a state is, in short."""
    return f"{value.layout}, {value.dtype} on {value.device}" if isinstance(value, Tensor) else type(value).__name__


def read_tensors(path: str | os.PathLike[str], most: int = LARGEST) -> dict[str, Tensor]:
    """The tensors of a safetensors file, unpacked; ValueError if it is cut off, another format, or beyond `most` bytes.

    `most` is asked of what `write_network` wrote small, before it is made; other files take what they have.
    """
    try:
        return read(Path(path), most)
    except OSError:
        raise
    except Exception as error:  # of what a packed file says of itself anything may be wrong
        reason = str(error) or type(error).__name__
        raise ValueError(f"{path} must be a whole safetensors file, got one that cannot be read ({reason})") from None


def load_tensors(model: nn.Module, path: str | os.PathLike[str]) -> None:
    """Fill the model from a safetensors file, in place; ValueError names the tensors that do not fit."""
    fill_network(model, read_tensors(path, room(model)), path)


def fill_network(model: nn.Module, tensors: dict[str, Tensor], path: str | os.PathLike[str]) -> None:
    """Put the tensors of a file into the model, in place; ValueError names those that do not fit.

    Of tensors that share memory in the model one may stand for all in the file.  Tensors on the meta device get memory
    on the CPU.
    """
    try:
        fill(model, tensors)
    except (ValueError, RuntimeError) as error:
        raise ValueError(f"{path} must hold the tensors of {type(model).__name__}, got: {error}") from None
