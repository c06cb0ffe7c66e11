"""The options of `experiments.reproduce`."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from ..lab.config import Judges

Names = Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="[NAME ...]")]


def _folder(variable: str) -> Path | None:
    return Path(os.environ[variable]) if os.environ.get(variable) else None


@dataclass(frozen=True)
class Reproduce:
    """Make the thesis's numbers again: carry out experiments of thesis/runs.toml, and write thesis/results/NAME.json.

    Runs that are complete are not repeated, those that were killed go on. Without names and options: --status.
    """

    names: Names = ()
    """experiments of thesis/runs.toml"""
    all: bool = False
    """all of them"""
    quick: bool = False
    """those that take a quarter of an hour in all, offline"""
    missing: bool = False
    """those without a result"""
    stale: bool = False
    """those whose command, seeds or threads are others now than their result's"""
    status: bool = False
    """say which result, claim, figure and table is missing, stale or of another commit; carry out nothing"""
    docs: bool = False
    """write the tables of README.md and docs/results/ that are made of results anew; carry out nothing"""
    check: bool = False
    """hold what is carried out against the results that are there, and write none; 1 where a number is another"""
    data: Path | None = field(default_factory=lambda: _folder("EXPERIMENTS_DATA"))
    """$DATA of commands: a folder of data sets (unset: what the environment says in EXPERIMENTS_DATA)"""
    checkpoints: Path | None = field(default_factory=lambda: _folder("EXPERIMENTS_CHECKPOINTS"))
    """$CHECKPOINTS of commands (unset: what the environment says in EXPERIMENTS_CHECKPOINTS)"""
    out: Path = Path("runs/reproduce")
    """a folder for the runs: ENTRY-HASH for each command"""
    force: bool = False
    """repeat runs that are complete"""
    executor: Judges = "auto"
    """as for experiments.run: who judges the layers of a plan; slurm shares them among machines"""
