"""Several processes: started here, by torchrun or by Slurm; the first one alone writes."""

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import lightning
import torch
import torch.distributed as dist
from lightning.fabric.plugins.environments import SLURMEnvironment, TorchElasticEnvironment
from lightning.fabric.utilities.rank_zero import rank_zero_only
from torch import Tensor

from checks import require

from ..config import Training
from .stopped import Diverged

T = TypeVar("T")
PATIENCE = 2.0  # seconds that others than the first process wait with their error for it to say the same


def rank() -> int:
    """Return the number of this process among all, 0 where it is alone, as its launcher or Lightning has it."""
    return int(getattr(rank_zero_only, "rank", 0))


def world() -> int:
    """Return how many processes there are."""
    return dist.get_world_size() if dist.is_initialized() else 1


def agreed(value: T) -> T:
    """Return the first process's value in all of them, which wait for it."""
    values = [value]
    if dist.is_initialized():
        dist.broadcast_object_list(values)
    return values[0]


def gathered(tensor: Tensor) -> Tensor:
    """Return (processes, *shape): this tensor of each process, in all of them, which wait for it."""
    if not dist.is_initialized():
        return tensor[None]
    parts = [torch.empty_like(tensor) for _ in range(world())]
    dist.all_gather(parts, tensor)
    return torch.stack(parts)


def check_launch(config: Training, device: str) -> None:
    """Refuse what does not fit how this process was started, this machine's GPUs, or a port that is taken."""
    wanted, listens, launched = config.devices * config.nodes, True, "MASTER_ADDR" in os.environ
    for launcher, environment in (("torchrun", TorchElasticEnvironment), ("Slurm", SLURMEnvironment)):
        if environment.detect():
            launched = True
            given = "SLURM_NTASKS" not in os.environ or "SLURM_NTASKS_PER_NODE" in os.environ
            require(launcher != "Slurm" or given, "srun", "--ntasks", "given --ntasks-per-node")
            started = environment().world_size()
            require(started == wanted, "devices x nodes", wanted, f"the {started} processes that {launcher} started")
            listens = environment().global_rank() == 0  # it may already do so when the others come to look
    alone = "1, or the command started on each machine by torchrun or Slurm: nobody else would come"
    require(config.nodes == 1 or launched, "nodes", config.nodes, alone)
    if device == "cuda":
        gpus = torch.cuda.device_count()
        require(config.devices <= gpus, "devices", config.devices, f"at most the {gpus} GPUs of this machine")
    if wanted > 1 and listens and "LOCAL_RANK" not in os.environ and (port := os.environ.get("MASTER_PORT")):
        require(_is_free(port), "MASTER_PORT", port, "a free port: set another one, or none and one is found")


def _is_free(port: str) -> bool:
    try:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server that will listen there does
            probe.bind(("", int(port)))
    except (OSError, OverflowError, ValueError):
        return False
    return True


@contextmanager
def processes(config: Training, device: str) -> Iterator[None]:
    """Run `devices` x `nodes` processes that can talk; for one do nothing.  An error ends those started here.

    SystemExit(2) where the error is but that one of these has ended with its own sentence.
    """
    if config.devices * config.nodes == 1:
        yield
        return
    accelerator = "gpu" if device == "cuda" else "cpu"
    fabric = lightning.Fabric(accelerator=accelerator, strategy="ddp", devices=config.devices, num_nodes=config.nodes)
    try:
        try:
            fabric.launch()
        except (dist.DistNetworkError, dist.DistStoreError) as error:
            where = f"{os.environ.get('MASTER_ADDR')}:{os.environ.get('MASTER_PORT')}"
            reason = str(error).splitlines()[0]
            raise ValueError(f"MASTER_ADDR and MASTER_PORT must be free to meet at, got {where} ({reason})") from None
        yield
    except BaseException as error:
        launcher = getattr(fabric.strategy, "launcher", None)
        started = getattr(launcher, "procs", [])
        refused = isinstance(error, Exception) and _refused(started)
        for process in started:
            process.terminate()
        if refused:
            raise SystemExit(2) from error
        raise


def _refused(started: list[subprocess.Popen[bytes]]) -> bool:
    """Tell whether one of these ended with 2; just after its connections closed the system may not yet know."""
    for _ in range(10):
        if any(process.poll() == 2 for process in started):
            return True
        time.sleep(PATIENCE / 20)
    return False


def error_message(error: Exception) -> str:
    """Write what this process says of an error that ends the run: of all processes one sentence reaches the user.

    An error met by all is printed by the first process, which ends the others meanwhile; one that a single process met
    is printed there.
    """
    if rank() > 0:
        if isinstance(error, Diverged):
            return ""
        time.sleep(PATIENCE)
    return f"error: {error}\n"
