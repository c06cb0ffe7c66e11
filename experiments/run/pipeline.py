"""The stages of a run: the dense network, the rows that are made of it, those from scratch, and what they measure."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from safetensors import SafetensorError
from torch import nn

from layers import load_frequency_layers, save_frequency_layers
from layers.fitting import NO_ROOM
from layers.network import load_tensors, write_tensors

from ..lab.recipes.fit import fit
from ..lab.recipes.job import Job, finished
from ..lab.recipes.ladder import Ladder
from ..lab.runs import record
from ..lab.runs.epochs import History
from ..lab.runs.inputs import changes, inputs
from ..lab.runs.lock import alone
from ..lab.runs.stages import Accuracies, Stages
from ..lab.runs.tracking import Tracker
from ..lab.training.distributed import agreed, processes, rank
from ..lab.training.trainer import statistics
from .measure import measure


class Trained(NamedTuple):
    """A network that is trained from its first weights, for so many epochs, how it is saved, and how it is read."""

    name: str
    words: str  # for the log
    epochs: int
    model: nn.Module
    save: Callable[[nn.Module], None]
    load: Callable[[], nn.Module]


def _dense(job: Job) -> Trained:
    """Make the stage of the dense network, which is left in the job and in dense.safetensors."""
    path = job.folder / "dense.safetensors"

    def load_dense() -> nn.Module:
        load_tensors(job.model, path)
        return job.model

    return Trained("dense", "dense", job.epochs, job.model, lambda model: write_tensors(model, path), load_dense)


def _from_scratch(job: Job, kernel: str) -> Trained:
    """Make the stage of a network of frequency layers, in KERNEL.safetensors."""
    path, layers = job.folder / f"{kernel}.safetensors", job.config.compression.layers
    return Trained(
        kernel,
        f"{kernel} from scratch",
        job.scratch_epochs,
        job.scratch[kernel],
        lambda model: save_frequency_layers(model, kernel, layers, path),
        lambda: load_frequency_layers(path, job.model),
    )


def execute(job: Job) -> None:
    """Train, compress with each kernel, fine-tune, measure; results.json is written last.

    ValueError in one sentence for a training that cannot go on, or a disk without room; the same command goes on from
    what is finished.
    """
    try:
        # the processes first: until they have met, each takes itself for the first
        with processes(job.config.training, job.device), _held(job.folder):
            if agreed(finished(job.config)):
                return  # another process made it since this one looked
            with Tracker(job.config, job.folder, rank() == 0) as tracker:
                models = _networks(job, tracker)
                if rank() == 0:
                    measure(job, models, tracker)
    except (OSError, SafetensorError) as error:
        if isinstance(error, OSError) and error.errno not in NO_ROOM:
            raise
        raise ValueError(f"out must be a folder with room for the run, got {job.folder} ({error})") from error


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Hold the run's folder in the first process; where another run holds it, all processes say so and end."""
    refusal = None
    with ExitStack() as locks:
        if rank() == 0:
            try:
                locks.enter_context(alone(folder))
            except ValueError as error:
                refusal = str(error)
        if (sentence := agreed(refusal)) is not None:
            raise ValueError(sentence)
        yield


def _networks(job: Job, tracker: Tracker) -> dict[str, nn.Module]:
    """Make every network that is trained or compressed.  Nothing that is finished is repeated."""
    console, kept = Console(stderr=True, quiet=rank() > 0), Stages(job.folder)
    if rank() == 0:
        made = kept.inputs()
        others = made is not None and bool(changes(job.config, made))  # accepted with --force
        kept.begin(others or (job.folder / record.COMPLETE).is_file(), inputs(job.config))
        record.write_json(job.folder / record.CONFIG, job.config.flat())
    done, models, shop = agreed(kept.finished()), {}, job.workshop()
    shop.hands = replace(shop.hands, cache=kept.folder / "layers")  # gone when the run is complete

    def say(words: str) -> None:
        console.print(words, markup=False, highlight=False)

    if words := statistics(job.model, job.config.training):
        say(words)
    for stage in [_dense(job), *(_from_scratch(job, kernel) for kernel in job.scratch)]:
        goes_on = kept.checkpoint(stage.name).is_file()
        words = "goes on" if goes_on else f"{stage.epochs} epoch{'s' * (stage.epochs != 1)}"
        say(f"{stage.words}: {'finished before' if stage.name in done else words}")
        if stage.name not in done:
            _train(job, kept, stage, tracker)
        agreed(None)
        models[stage.name] = stage.load()
    for name in job.rows:
        ladder = Ladder.of_row(job, kept, name)
        say(f"{name}: {'finished before' if name in done else ladder.words()}")
        state = ladder.climb(shop, tracker)
        if rank() == 0 and name not in done:
            state.save(job.folder / name, job.dataset.preprocessing.record())
            kept.finish(name, ladder.accuracies())
        agreed(None)
        models[name] = state.network()
    return models


def _train(job: Job, kept: Stages, stage: Trained, tracker: Tracker) -> None:
    """Train the network of a stage and save it, from where an earlier process was killed."""
    history, model = [History(job.folder, stage.name, tracker)], stage.model
    val = fit(job, stage.name, model, kept.checkpoint(stage.name), history)
    if rank() == 0:
        stage.save(model)
        kept.finish(stage.name, Accuracies(val))
