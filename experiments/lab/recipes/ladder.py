"""Make the networks of one list step by step, each stored whole and measured: the ladder that a compression climbs."""

import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from torch import nn

from layers.costs import scale

from ..evaluation.evaluate import Accuracy, accuracy, judge
from ..evaluation.workshop import Workshop
from ..reporting.page.chance import packed
from ..runs import record
from ..runs.epochs import Follower, History
from ..runs.lock import in_turn
from ..runs.stages import Accuracies, Stages
from ..steps.finetune import Finetune
from ..steps.kernel import Kernel
from ..steps.language import row_of, step_name, written
from ..steps.state import State, Steps, stored
from ..training.distributed import agreed, rank
from . import evidence
from .job import Job

STATE = "state.json"  # written last: a step without it is done again


class Rung(NamedTuple):
    """What the network is after a step; accuracies in percent, on all images of their split."""

    step: str
    top1: float
    top5: float
    loss: float
    val_top1: float | None  # None where no image validates anything
    params: int
    nonzeros: int
    macs: int
    bits: float  # per parameter, as they are stored
    bytes: int  # of the file that `save` writes
    compressed: int  # by brotli
    seconds: float  # that the step took, without this measurement


class Ladder:
    """The steps of one list: where each network lies while it is under way, and what was measured of it.

    folder: number of a step, from 1 -> where the network lies after it; whoever works in a folder holds the one above.
    """

    def __init__(self, job: Job, name: str, steps: Steps, folder: Callable[[int], Path]) -> None:
        self.job, self.name, self.steps, self.folder = job, name, steps, folder

    @classmethod
    def of_row(cls, job: Job, kept: Stages, name: str) -> "Ladder":
        """Return the ladder of a run's row."""
        steps = job.rows[name]
        return cls(job, name, steps, lambda n: kept.step(name, n, step_name(steps[n - 1])))

    def checkpoint(self, number: int) -> Path:
        """Return where the training of a step is saved."""
        return self.folder(number).with_name(f"{self.folder(number).name}.ckpt")

    def finished(self, number: int) -> bool:
        """Whether this step is done and need not be repeated."""
        return (self.folder(number) / STATE).is_file()

    def _told(self, number: int) -> dict[str, Any]:
        told: dict[str, Any] = json.loads((self.folder(number) / STATE).read_text(encoding="utf-8"))
        return told

    def rungs(self) -> list[Rung]:
        """Return what was measured after each step, the first one first."""
        return [Rung(**self._told(number)["rung"]) for number in range(1, len(self.steps) + 1)]

    def right(self) -> str:
        """Return which of the test images the last network has right, as `packed` writes it."""
        right: str = self._told(len(self.steps))["right"]
        return right

    def read(self, number: int) -> State:
        """Read the state after a step; 0 is the dense network."""
        if number == 0:
            return State.of(self.job.workshop())
        told, folder = self._told(number), self.folder(number)
        state = State.read(folder, self.job.model, self.steps[:number], told["form"], told["binary"])
        return replace(state, val=told["val"])

    def words(self) -> str:
        """Say what there is to do, and from where it goes on."""
        done = sum(map(self.finished, range(1, len(self.steps) + 1)))
        begun = done or any(self.checkpoint(n + 1).is_file() for n in range(len(self.steps)))
        return f"{', '.join(map(written, self.steps))}{', goes on' if begun else ''}"

    def climb(self, shop: Workshop, follower: Follower | None = None) -> State:
        """Do the steps that are not done; every network is read back, so that one that was killed goes on alike.

        follower: whoever wants to be told of each epoch, which the folder's history then has too.
        """
        state = self.read(0)
        for number, step in enumerate(self.steps, 1):
            with self._held(number):
                if agreed(not self.finished(number)):
                    first, folder = self._epochs_before(number), self.job.folder
                    shop.checkpoint = self.checkpoint(number)
                    shop.callbacks = [History(folder, self.name, follower, first=first)] if follower else []
                    clock = time.perf_counter()
                    made = step.apply(state, shop)
                    if rank() == 0:
                        seconds = time.perf_counter() - clock
                        if follower and isinstance(step, Kernel) and step.moments:
                            seen = shop.images(state.model, state.done)
                            top1 = self._top1 if step.refits else None
                            found = evidence.gather(state.model, made.plan, seen.stats, seen.batches, top1)
                            evidence.keep(folder, self.name, found)
                        self._keep(number, made, seconds)
                agreed(None)
            state = self.read(number)
        return state

    def _top1(self, network: nn.Module) -> float:
        job = self.job
        return accuracy(network, job.dataset.test(), job.dataset, job.device).top1

    @contextmanager
    def _held(self, number: int) -> Iterator[None]:
        """Hold what the step is written to: another worker may begin a list with the same steps."""
        if rank() > 0:
            yield
            return
        place = self.folder(number).parent
        place.mkdir(parents=True, exist_ok=True)
        with in_turn(place):
            yield

    def _epochs_before(self, number: int) -> int:
        return sum(step.epochs for step in self.steps[: number - 1] if isinstance(step, Finetune))

    def _keep(self, number: int, made: State, seconds: float) -> None:
        """Write the network and what is measured of it; the last file makes the step a finished one."""
        folder, job = self.folder(number), self.job
        shutil.rmtree(folder, ignore_errors=True)  # of a process that was killed here
        made.keep(folder, job.dataset.preprocessing.record())
        rung, right = measured(job, made, written(self.steps[number - 1]), stored(folder), seconds)
        told = {"form": made.form, "binary": list(made.binary), "val": made.val, "rung": rung._asdict(), "right": right}
        record.write_json(folder / STATE, told)
        self.checkpoint(number).unlink(missing_ok=True)

    def forms(self) -> list[str]:
        """Name the network that is timed for the dense one and for each step: the same where a step changes no time."""
        reshaping = [n for n, step in enumerate(self.steps, 1) if row_of(step).reshapes]
        names, form = ["dense"], "dense"
        for number in range(1, len(self.steps) + 1):
            if number in reshaping:
                form = self.name if number == reshaping[-1] else f"{self.name}/{number}"
            names.append(form)
        return names

    def between(self) -> dict[int, str]:
        """Number of a step -> name of its network, where that is neither the dense nor the last one in its time."""
        return {n: form for n, form in enumerate(self.forms()) if form == f"{self.name}/{n}"}

    def accuracies(self) -> Accuracies:
        """Return the validation accuracy of the last training, and the test accuracy before it."""
        tuned = [n for n, step in enumerate(self.steps, 1) if isinstance(step, Finetune)]
        if not tuned:
            return Accuracies()
        last, job = tuned[-1], self.job
        dense = accuracy(job.model, job.dataset.test(), job.dataset, job.device).top1 if last == 1 else None
        return Accuracies(self._told(last)["val"], self.rungs()[last - 2].top1 if dense is None else dense)


def measured(job: Job, state: State, words: str, size: int, seconds: float) -> tuple[Rung, str]:
    """Measure a network; size: the bytes of its file.  Also which test images it has right, packed."""
    network = state.network().to(job.device)
    judged = judge(network, job.dataset.test(), job.dataset, job.device)
    test, right = Accuracy.of(judged), packed(judged.first)
    val = accuracy(network, job.dataset.val(), job.dataset, job.device).top1 if job.validated else None
    one, compressed = job.example[:1].to(job.device), size if state.compact else None
    counts = scale(network, one, state.kept(), size=size, compressed=compressed)
    return Rung(step=words, **test._asdict(), val_top1=val, **counts._asdict(), seconds=seconds), right
