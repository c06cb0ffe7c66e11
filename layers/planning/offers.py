"""What the kernels offer for one layer, judged: work that needs the layer alone, and so goes to any executor.

A task is small: weight, moments and names.  Its result depends on nothing else, so that a plan is the same whoever did
the work, and is kept on disk under the hash of all that it depends on, the code among it.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Executor, ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ..calibration import LayerStats
from ..factored import Form
from ..fitting import Metric
from ..network import Layer, Progress, ignored, write_text
from .methods import method
from .selectors import SELECTORS

ROOT = Path(__file__).parents[2]
CODE = ("layers/calibration", "layers/coded", "layers/factored", "layers/fitting", "layers/planning", "stage3_torch")
SETTINGS = (bool, int, float, str, tuple, list)
KINDS = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)


class Task(NamedTuple):
    """One layer to judge: a plain copy of it, its moments or None, and by which kernels and selector."""

    name: str
    layer: Layer
    moments: LayerStats | None
    kernels: Sequence[str]
    selector: str
    rank_multiple: int

    def key(self) -> str:
        """Return the hash of all that the forms depend on, but for the name."""
        digest = hashlib.sha256(_code().encode())
        settings = {key: value for key, value in vars(self.layer).items() if not key.startswith("_")}
        digest.update(repr((type(self.layer).__name__, sorted(settings.items()))).encode())
        digest.update(repr((tuple(self.kernels), self.selector, self.rank_multiple, torch.__version__)).encode())
        for part in _leaves((self.layer.weight, self.layer.bias, self.moments)):
            if isinstance(part, Tensor):
                digest.update(repr((tuple(part.shape), part.dtype)).encode())
                digest.update(part.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
            else:
                digest.update(repr(part).encode())
        return digest.hexdigest()[:32]


@cache
def _code() -> str:
    """Return the hash of the code that judges."""
    files = sorted(path for folder in CODE for path in (ROOT / folder).glob("*.py"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()


def _leaves(values: Any) -> Iterator[Any]:
    if isinstance(values, tuple):
        for value in values:
            yield from _leaves(value)
    else:
        yield values


def plain_copy(layer: Any) -> Layer:
    """Return a layer of torch's own class with the same settings and weights, without hooks: it can be pickled."""
    kind = next(kind for kind in KINDS if isinstance(layer, kind))
    copy: Any = kind.__new__(kind)
    nn.Module.__init__(copy)
    for key, value in vars(layer).items():
        if key not in vars(copy) and isinstance(value, SETTINGS):
            setattr(copy, key, value)
    for key in ("weight", "bias"):
        tensor = getattr(layer, key)
        setattr(copy, key, None if tensor is None else nn.Parameter(tensor.detach(), requires_grad=False))
    return copy.train(layer.training)


def judge(task: Task, folder: Path | None = None) -> list[Form]:
    """Return the forms of the task's kernels with their errors or levels, from the folder where they are kept there."""
    path = None if folder is None else folder / f"{task.key()}.json"
    if path is not None and (kept := _read(path)) is not None:
        return kept
    torch.set_num_threads(1)  # sums then have one order whoever computes them, and workers do not crowd a core
    metric = None if task.moments is None else Metric.of(task.layer, task.moments)  # once for all kernels
    forms = [
        form
        for kernel in task.kernels
        for form in SELECTORS[task.selector].judge(method(kernel), task.layer, metric, task.rank_multiple)
    ]
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = [[form.kernel, dict(form.spec), form.error, form.level] for form in forms]
        write_text(path, json.dumps({"layer": task.name, "forms": rows}))
    return forms


def _read(path: Path) -> list[Form] | None:
    """Return what an earlier call kept; None where there is nothing, or nothing whole."""
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))["forms"]
        return [Form(kernel, spec, error=error, level=level) for kernel, spec, error, level in rows]
    except (OSError, ValueError, KeyError, TypeError):
        return None


@contextmanager
def _pool(executor: Executor | None) -> Iterator[Executor]:
    """Yield the executor, or threads, as many as torch has, which it has again afterwards; what waits is given up."""
    threads = torch.get_num_threads()
    pool = ThreadPoolExecutor(threads) if executor is None else executor
    torch.set_num_threads(1)  # before any thread of the pool takes its own number from it
    try:
        yield pool
    finally:
        if executor is None:
            pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)


def judge_all(
    tasks: Sequence[Task],
    executor: Executor | None = None,
    folder: Path | None = None,
    progress: Progress = ignored,
) -> list[list[Form]]:
    """Judge every task, the largest first, by the executor: without one, by as many threads as torch has.

    progress: called with a layer's name when it is done.  Where a worker dies its layer, and those that its executor
    then gives back, are done in this process.
    """
    work = partial(judge, folder=folder)
    results: dict[int, list[Form]] = {}
    order = sorted(range(len(tasks)), key=lambda number: -tasks[number].layer.weight.numel())
    with _pool(executor) as pool:
        for number, answer in zip(order, _submitted(pool, work, [tasks[number] for number in order])):
            try:
                results[number] = answer()
            except BrokenExecutor:
                results[number] = work(tasks[number])
            progress(tasks[number].name)
    return [results[number] for number in range(len(tasks))]


def _submitted(pool: Executor, work: Callable[[Task], list[Form]], tasks: Iterable[Task]) -> list[Callable[[], Any]]:
    """Hand all tasks over; a pool that is broken already gives each back."""
    answers: list[Callable[[], Any]] = []
    for task in tasks:
        try:
            answers.append(pool.submit(work, task).result)
        except BrokenExecutor:
            answers.append(partial(work, task))
    return answers
