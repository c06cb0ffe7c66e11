"""Who judges the layers of a plan: this process's threads, processes of this machine, or jobs of Slurm."""

from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from torch import nn

from layers.planning import cache_file

from ..config import Judges

PAYS = 2**22  # weights of convolutions from which on processes, which take seconds to start, are faster than threads
MINUTES = 120  # that Slurm is asked for, for one layer


@dataclass(frozen=True)
class Hands:
    """Who judges layers, and the folder in which what was judged is kept; None keeps nothing."""

    executor: Judges = "threads"
    cache: Path | None = None

    @contextmanager
    def at_work(self, model: nn.Module) -> Iterator[Executor | None]:
        """Yield what layers are handed to; None for threads."""
        convolutions = sum(m.weight.numel() for m in model.modules() if isinstance(m, nn.Conv2d))
        large = convolutions >= PAYS and torch.get_num_threads() > 1
        if self.executor == "slurm":
            yield Jobs("slurm", (self.cache or layers_folder()) / "jobs")
        elif self.executor == "processes" or (self.executor == "auto" and large):
            with ProcessPoolExecutor(torch.get_num_threads(), get_context("spawn")) as pool:
                try:
                    yield pool
                finally:
                    pool.shutdown(wait=False, cancel_futures=True)
        else:
            yield None


def layers_folder() -> Path:
    """Return where verbs keep what was judged of layers: beside the measured latencies."""
    return cache_file().parent / "layers"


class Jobs(Executor):
    """An executor whose tasks are jobs of submitit: of Slurm, or of this machine (local, debug).

    A job that ends without an answer, whatever the reason, is a worker that died: `BrokenExecutor`.
    """

    def __init__(self, cluster: str, folder: Path) -> None:
        import submitit  # here: no other executor needs it

        self.pool = submitit.AutoExecutor(folder=folder, cluster=cluster)
        self.pool.update_parameters(cpus_per_task=1, timeout_min=MINUTES, mem_gb=8)
        self.failed = (submitit.core.utils.UncompletedJobError, submitit.core.utils.FailedJobError)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Hand one task over."""
        return _Answer(self.pool.submit(fn, *args, **kwargs), self.failed)


class _Answer(Future[Any]):
    def __init__(self, job: Any, failed: tuple[type[Exception], ...]) -> None:
        super().__init__()
        self.job, self.failed = job, failed

    def result(self, timeout: float | None = None) -> Any:
        """Wait for the job's answer."""
        try:
            return self.job.result()
        except self.failed as error:
            raise BrokenExecutor(str(error)) from error
