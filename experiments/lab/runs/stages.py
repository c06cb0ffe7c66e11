"""What of a run under way is finished, so that a run killed at any moment goes on from there.

unfinished/inputs.json    what the run was begun with (inputs.py)
unfinished/stages.json    stage -> its accuracies; a stage is finished once it stands here
unfinished/STAGE.ckpt     the training under way (experiments/lab/training/checkpoint.py)
unfinished/ROW/K-STEP/    the network after the K-th step of a row, and in state.json what was measured of it
unfinished/ROW/K-STEP.ckpt    its training under way
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from layers.network import remove_partial

from . import record

UNFINISHED = "unfinished"


class Accuracies(NamedTuple):
    """A finished stage has these accuracies, in percent; None where nothing was trained."""

    val: float | None = None  # of the weights that it ends with, on the validation images
    before: float | None = None  # fine-tuning, on the test images: they are reported, and choose nothing


class Stages:
    """The finished stages of the run in this folder; only the first process calls what writes."""

    def __init__(self, folder: Path) -> None:
        self.run, self.folder = folder, folder / UNFINISHED

    def begin(self, anew: bool, inputs: Mapping[str, Any]) -> None:
        """Delete temporary files of a killed process; with `anew` also the finished or unfinished run.

        inputs: what a run that begins here is made with; that of one that goes on is kept.
        """
        if anew:
            shutil.rmtree(self.folder, ignore_errors=True)
            (self.run / record.COMPLETE).unlink(missing_ok=True)  # last: while it is there the run is not under way
        self.folder.mkdir(exist_ok=True)
        for folder in (self.run, self.folder):
            remove_partial(folder)
        if not self.finished() and self.inputs() is None:
            record.write_json(self.folder / "inputs.json", inputs)

    def inputs(self) -> dict[str, Any] | None:
        """Return what the run under way was begun with; None without one, or with one from before that was kept."""
        path = self.folder / "inputs.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None

    def finished(self) -> dict[str, Accuracies]:
        """Return stage -> its accuracies, of all that are finished."""
        path = self.folder / "stages.json"
        stages = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        # a run from before there were two was killed with one number a stage
        return {stage: Accuracies(*(kept if isinstance(kept, list) else [kept])) for stage, kept in stages.items()}

    def checkpoint(self, stage: str) -> Path:
        """Return where the stage's training is saved."""
        return self.folder / f"{stage}.ckpt"

    def step(self, row: str, number: int, name: str) -> Path:
        """Return where the network lies after a step of a row, by its number from 1."""
        return self.folder / row / f"{number}-{name}"

    def finish(self, stage: str, accuracies: Accuracies) -> None:
        """Note that the stage's results are on the disk: never repeat it, and drop what it left under way."""
        record.write_json(self.folder / "stages.json", self.finished() | {stage: accuracies})
        self.checkpoint(stage).unlink(missing_ok=True)

    def end(self) -> None:
        """Delete what stands for a run under way: it is complete."""
        shutil.rmtree(self.folder)
