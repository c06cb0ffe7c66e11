"""The one door of all verbs: reads the options, does the work, and says every refusal in one sentence.

What a verb does is imported by its `act`, not by its `__main__`: `--help`, and an option that tyro refuses, need
neither torch nor Lightning, which take seconds.
"""

import errno
import sys
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import make_dataclass
from pathlib import Path
from typing import Annotated, Any, Protocol, TypeVar

import tyro

from checks import require

from .refusals import out_of_memory
from .reporting.tables import FORMAT, Format

REFUSED, INTERRUPTED = 2, 130  # exit codes: input that cannot be used; Ctrl-C, as shells have it
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
ANY_CASE = ("--model", "--dataset")
CAN_BE_NONE = ("--mean", "--std", "--pad", "--resize", "--crop", "--interpolation")  # which is not their default

MEMORY = "memory must suffice (lower --calibration-images, --image-size, --batch-size or --latency-batches)"

TABLES = Annotated[Format, tyro.conf.arg(help="how tables are printed: as text, or as Markdown")]
Options = TypeVar("Options")


class Main(Protocol):
    """The `main` of a verb."""

    def __call__(self, arguments: list[str] | None = None) -> int:
        """Run the command line of these words (default: this process's), and return the exit code."""


def door(
    verb: str, options: Callable[..., Options], act: Callable[[Options], int | None], resumes: bool = False
) -> Main:
    """Return the `main` of a verb, which takes the words of a command line and returns an exit code.

    Args:
        verb: as the user writes it after `experiments`.
        options: a dataclass; its fields are the options, its docstring is their description.
        act: does the work and returns the exit code, None for 0.
        resumes: whether the same command goes on with work that was interrupted.
    """

    with_format = _with_format(options)

    def main(arguments: list[str] | None = None) -> int:
        """Run the command line (default: this process's); 2 where the input is refused, 130 after Ctrl-C."""
        prog, config = f"python -m experiments.{verb}", (tyro.conf.OmitArgPrefixes,)
        before = FORMAT.set("text")
        try:
            words = normalise_arguments(sys.argv[1:] if arguments is None else arguments)
            given = tyro.cli(with_format, prog=prog, args=words, config=config)
            FORMAT.set(given.format)
            return act(given.options) or 0
        except (MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
            sys.stderr.write(f"error: {MEMORY}, got {' '.join(str(error).split())[:200] or 'none left'}\n")
            return REFUSED
        except (ValueError, OSError) as error:
            sys.stderr.write(_refusal(error))
            return REFUSED
        except (KeyboardInterrupt, SystemExit) as stop:
            # Lightning leaves a training that was interrupted by exit(1)
            if isinstance(stop, SystemExit) and not isinstance(stop.__context__, KeyboardInterrupt):
                raise
            sys.stderr.write(_interruption(resumes))
            return INTERRUPTED
        finally:
            FORMAT.reset(before)

    return main


def _with_format(options: Callable[..., Any]) -> Any:
    """Return the options of a verb, and beside them the one that all verbs have, which is no part of any run."""
    own = Annotated[options, tyro.conf.arg(name="")]  # type: ignore[valid-type]  # known when the verb is read
    both = make_dataclass("Words", [("options", own), ("format", TABLES, "text")], frozen=True)
    both.__doc__ = options.__doc__
    return both


def _refusal(error: ValueError | OSError) -> str:
    """Return the sentence for stderr; of several processes that met the same error only the first has one."""
    if isinstance(error, OSError) and error.errno in NO_ROOM:
        error = ValueError(f"out must be a folder with room, got {error.filename or error} ({error.strerror})")
    if "torch" not in sys.modules:  # so no other process knows of this one
        return f"error: {error}\n"
    from .training.distributed import error_message

    return error_message(error)


def _interruption(resumes: bool) -> str:
    """Return the sentence after Ctrl-C, which reaches every process; the first one says it."""
    if "torch" in sys.modules:
        from .training.distributed import rank

        if rank() > 0:
            return ""
    return f"interrupted{': the same command goes on from what is finished' if resumes else ''}\n"


def check_file(out: Path, argument: str = "out") -> None:
    """Refuse, before the work whose result it shall hold, a file that cannot be written."""
    require(not out.is_dir(), argument, str(out), "a file, not a folder")
    folder = next(parent for parent in out.absolute().parents if parent.exists())
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass  # of no name, so gone already
    except OSError as error:
        reason = f"{folder}: {error.strerror}"
        raise ValueError(f"{argument} must be a file that can be written, got {str(out)!r} ({reason})") from None


def normalise_arguments(arguments: Iterable[str]) -> list[str]:
    """Read command lines written for older forms of this project: the same words as tyro takes them.

    `--kernel None` is no kernel, `--mean None` no mean (and so for all that is done to images), any other
    `--option None` the option's default.  Names of networks and datasets may be
    written in any case; `package.module:factory` is left as it is.
    """
    parts = [part for word in arguments for part in (word.split("=", 1) if word.startswith("--") else [word])]
    words: list[str] = []
    for before, part in zip(["", *parts], parts):
        option = words[-1] if words else ""
        if part == "None" and option in CAN_BE_NONE:
            words.append("none")
            continue
        if part == "None" and option.startswith("--"):
            words = words if option == "--kernel" else words[:-1]
            continue
        mixed = option == "--kernel" and before == "None" and not part.startswith("--")
        require(not mixed, "kernel", f"None {part}", "None alone, or names of kernels")
        words.append(part.lower() if option in ANY_CASE and ":" not in part else part)
    return words
