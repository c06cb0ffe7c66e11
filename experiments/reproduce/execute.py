"""Carry out the commands of an experiment with each seed, in processes; what is complete is not repeated."""

import hashlib
import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path

from checks import require

from ..lab.results.manifest import Entry, words
from ..lab.results.result import Result
from ..lab.runs import record
from .collect import gathered, of_folder
from .measured import Source
from .read_served import all_measured

LEDGER = "ledger.json"  # seconds that a command has taken, in all, and the day on which it ended
SEVERAL = {"run"}  # verbs that take --seeds
UNSEEDED = {"bench"}  # that draw nothing
CELLS = "cells"  # folder of what a bench measured
FORCE = {"run", "sweep", "study"}
EXECUTOR = {"run", "sweep", "search"}
TRACKED = {"run"}


def folder_of(entry: Entry, command: str, out: Path) -> Path:
    """Return the folder of a command's runs, named by all that decides them."""
    decides = json.dumps([command, list(entry.seeds), entry.threads])
    return out / f"{entry.name}-{hashlib.sha256(decides.encode()).hexdigest()[:8]}"


def lines(command: str, seeds: tuple[int, ...], places: Mapping[str, str]) -> list[list[str]]:
    """Return the words of each process that a command takes; a verb that knows only --seed takes one for each seed."""
    verb, *options = words(command, places)
    if verb in UNSEEDED:
        return [[verb, *options]]
    if verb in SEVERAL and len(seeds) > 1:
        return [[verb, *options, "--seeds", *map(str, seeds)]]
    return [[verb, *options, "--seed", str(seed)] for seed in seeds]


def carry_out(
    entry: Entry, out: Path, places: Mapping[str, str], log: Callable[[str], None], force: bool, executor: str
) -> Result:
    """Run what is missing of an experiment and return its numbers; ValueError where a command fails.

    A command that was killed goes on, and its seconds add up.
    """
    sources: list[Source] = []
    seconds, days = 0.0, list[str]()
    for command in entry.commands:
        folder = folder_of(entry, command, out)
        folder.mkdir(parents=True, exist_ok=True)
        for number, (verb, *options) in enumerate(lines(command, entry.seeds, places)):
            ledger = folder / f"{number}-{LEDGER}"
            if _done(ledger) and not force:
                continue
            place = ["--work", str(folder / CELLS)] if verb in UNSEEDED else ["--out", str(folder)]
            given = [*place, *["--force"] * (force and verb in FORCE)]
            given += ["--no-track"] * (verb in TRACKED) + ["--executor", executor] * (verb in EXECUTOR)
            line = [sys.executable, "-m", f"experiments.{verb}", *options, *given]
            log(f"{entry.name}: {shlex.join(['python', *line[1:]])}")
            _run(line, entry.threads, ledger, places.get("CHECKPOINTS"))
        told = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob(f"*-{LEDGER}"))]
        seconds, days = seconds + sum(one["seconds"] for one in told), [*days, *(one["date"] for one in told)]
        sources += of_folder(folder)
    return result_of(entry, sources, seconds, max(days))


def _done(ledger: Path) -> bool:
    return ledger.is_file() and bool(json.loads(ledger.read_text(encoding="utf-8"))["date"])


def _run(line: list[str], threads: int, ledger: Path, beside: str | None) -> None:
    """Carry out one command and note how long it took; ValueError where it fails.

    A bench that has measured all, and ends with 1 because a goal is missed, does not fail.
    beside: the folder of checkpoints, in which modules that define their networks are found.
    """
    before = json.loads(ledger.read_text(encoding="utf-8"))["seconds"] if ledger.is_file() else 0.0
    root, count = Path(__file__).parents[2], str(threads)
    surroundings = {**os.environ, "OMP_NUM_THREADS": count, "MKL_NUM_THREADS": count}
    paths = [str(root), *filter(None, [os.environ.get("PYTHONPATH"), beside])]
    surroundings["PYTHONPATH"] = os.pathsep.join(paths)
    began, code, good = time.monotonic(), None, False
    try:
        code = subprocess.run(line, env=surroundings, stdout=subprocess.DEVNULL, check=False).returncode
        good = code == 0 or (code == 1 and all_measured(ledger.parent / CELLS))
    finally:  # after Ctrl-C as well: what it took until then counts
        taken = before + time.monotonic() - began
        record.write_json(ledger, {"seconds": taken, "date": date.today().isoformat() if good else ""})
    require(good, "command", shlex.join(line[1:]), f"one that succeeds (it ended with {code}, and said why above)")


def result_of(entry: Entry, sources: list[Source], seconds: float, day: str) -> Result:
    """Return the result of an experiment; ValueError where its runs are of several commits, machines or versions."""
    where = f"{entry.name}.json"
    require(bool(sources), where, "no run", "made of one run or more")
    one = sources[0].environment
    for key in ("commit", "cpu", "gpu", "torch", "threads"):
        found = sorted({str(source.environment.get(key)) for source in sources})
        require(len(found) == 1, f"{where}: {key}", ", ".join(found), "one in all its runs (repeat with --force)")
    numbers, series = gathered(sources, entry.seeds, where)
    versions = {name: str(one[name]) for name in ("python", "torch", "torchvision", "numpy", "lightning")}
    return Result(
        name=entry.name,
        command=entry.commands,
        purpose=entry.purpose,
        commit=str(one["commit"]),
        device=str(one["gpu"] or one["cpu"]),
        threads=int(one["threads"]),
        versions=versions,
        seeds=entry.seeds,
        date=day,
        seconds=round(seconds, 1),
        numbers=numbers,
        series=series,
    )
