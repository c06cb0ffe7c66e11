"""Runs that are killed as by `kill -9`, and the networks that they end with when the command is given again."""

import os
import signal

from processes import FORK

from experiments.lab.training.classifier import Classifier
from experiments.run.__main__ import main
from layers.network import packed


def kill_at(count, function):
    """The function, which at its count-th call ends the process as `kill -9` does."""
    calls = iter(range(1, count + 1))

    def called(*args, **kwargs):
        if next(calls) == count:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*args, **kwargs)

    return called


def pack_fast(patch=setattr):
    """Let brotli be quick: its best takes a third of a small run, and no test of a run asks how small a file gets."""
    patch(packed, "BEST", packed.FAST)


def _work(target, *args):
    pack_fast()
    target(*args)


def exit_code(target, *args):
    """How a process with this work ended."""
    process = FORK.Process(target=_work, args=(target, *args))
    process.start()
    process.join()
    return process.exitcode


def killed(out, arguments, count):
    Classifier.training_step = kill_at(count, Classifier.training_step)
    main([*arguments, "--out", str(out)])


def finished(out, arguments):
    main([*arguments, "--out", str(out)])


def same_bits(folder, arguments, count):
    """The networks (path -> bytes) of a run killed at its count-th step and taken up, as of one that nobody killed."""
    assert exit_code(killed, folder / "a", arguments, count) == -signal.SIGKILL
    networks = []
    for out in (folder / "a", folder / "b"):
        assert exit_code(finished, out, arguments) == 0
        networks.append({p.relative_to(out): p.read_bytes() for p in out.rglob("*.safetensors")})
    assert networks[0] == networks[1]
    return networks[0]
