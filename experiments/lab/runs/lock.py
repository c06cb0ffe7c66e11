"""Locks on folders: two processes neither make the same run at once nor the same database.

The lock is on the folder itself, leaves no file, and ends with its process however that ends.
"""

import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

log = logging.getLogger(__name__)


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold the folder of a run; ValueError that says who has it if another process makes that run."""
    with _open(folder) as descriptor:
        try:
            _lock(folder, descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            free = f"one that no other process makes now: wait for {_holder(descriptor)}, and give the command again"
            raise ValueError(f"run must be {free}, got {folder.name}") from None
        yield


@contextmanager
def in_turn(folder: Path) -> Iterator[None]:
    """Hold the folder once no other process does."""
    with _open(folder) as descriptor:
        _lock(folder, descriptor, fcntl.LOCK_EX)
        yield


@contextmanager
def _open(folder: Path) -> Iterator[int]:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _lock(folder: Path, descriptor: int, operation: int) -> None:
    """Lock, or warn where the file system has no locks for folders, as some that machines share have none."""
    try:
        fcntl.flock(descriptor, operation)
    except BlockingIOError:
        raise
    except OSError as error:
        log.warning("%s cannot be locked (%s): do not start the same run twice at once", folder, error.strerror)


def _holder(descriptor: int) -> str:
    """Name the process of this machine that holds the lock, where the system tells."""
    status, locks = os.fstat(descriptor), Path("/proc/locks")
    place = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    for line in locks.read_text(encoding="utf-8").splitlines() if locks.is_file() else ():
        words = line.split()
        if place in words and "->" not in words:
            return f"process {words[words.index(place) - 1]}"
    return "it"
