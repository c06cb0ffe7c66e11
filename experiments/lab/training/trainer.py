"""Configure Lightning, and refuse what it shall not be asked for."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import lightning
from lightning.fabric.plugins.environments import SLURMEnvironment
from lightning.pytorch.callbacks import Callback, EarlyStopping
from lightning.pytorch.strategies import FSDPStrategy
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from checks import require

from ..config import Training
from ..refusals import check_ranges
from .checkpoint import WholeFiles, every_epoch
from .distributed import check_launch
from .epochs import Epochs

REESTIMATE = 10_000  # images suffice for BatchNorm's statistics (Wu & Johnson 2021, section 3)
PRECISIONS: dict[str, Literal["32-true", "bf16-mixed", "16-mixed"]]
PRECISIONS = {"32": "32-true", "bf16": "bf16-mixed", "16": "16-mixed"}


def check_training(config: Training, device: str) -> None:
    """Refuse numbers out of range, and what this device or these processes cannot do."""
    check_ranges(config)
    check_launch(config, device)
    several, fsdp = config.devices * config.nodes > 1, config.strategy == "fsdp"
    require(device == "cuda" or config.precision != "16", "precision", "16", "32 or bf16 on a CPU")
    require(device == "cuda" or not fsdp, "strategy", "fsdp", "auto or ddp on a CPU")
    require(not fsdp or several, "strategy", "fsdp", "auto for one process: there is nothing to share out")
    require(not (fsdp and config.ema), "ema", config.ema, "0 with --strategy fsdp")
    sync = several and config.batchnorm == "sync"
    require(device == "cuda" or not sync, "batchnorm", "sync", "local or reestimate on a CPU")


def make_trainer(
    config: Training,
    epochs: int,
    checkpoint: Path | None = None,
    callbacks: Sequence[Callback] = (),
    *,
    judge_start: bool = False,
) -> lightning.Trainer:
    """Make Lightning's Trainer as configured.

    checkpoint: the path of the file in which every epoch is saved; judge_start: validate before the first step too.
    """
    plugins: list[Any] = [WholeFiles()]
    if SLURMEnvironment.detect():
        plugins.append(SLURMEnvironment(auto_requeue=False))  # the same command goes on by itself, from our files
    several = config.devices * config.nodes > 1
    strategy = FSDPStrategy(state_dict_type="full") if config.strategy == "fsdp" else "ddp" if several else "auto"
    own: list[Callback] = [Epochs()]
    if config.patience is not None:
        own.append(EarlyStopping("val_top1", mode="max", patience=config.patience, check_on_train_epoch_end=False))
    if checkpoint is not None:
        own.append(every_epoch(checkpoint))
    return lightning.Trainer(
        max_epochs=epochs,
        accelerator="gpu" if config.accelerator == "cuda" else config.accelerator,
        devices=config.devices,
        num_nodes=config.nodes,
        strategy=strategy,
        precision=PRECISIONS[config.precision],
        sync_batchnorm=several and config.batchnorm == "sync",
        deterministic=config.rep,
        use_distributed_sampler=False,
        logger=False,
        enable_progress_bar=False,  # ours goes to stderr, and where there is no terminal it writes lines
        enable_checkpointing=checkpoint is not None,
        enable_model_summary=False,
        num_sanity_val_steps=-1 if judge_start else 0,
        plugins=plugins,
        callbacks=[*own, *callbacks],
    )


def statistics(model: nn.Module, config: Training) -> str:
    """Say which statistics the network will keep; empty without BatchNorm."""
    if not any(isinstance(module, _BatchNorm) for module in model.modules()):
        return ""
    words = {
        "local": "running averages of each process's own batches, the first one's kept",
        "sync": "running averages over the batches of all processes",
        "reestimate": "measured anew on training images before each validation",
    }
    return f"BatchNorm statistics: {words[config.batchnorm]}"
