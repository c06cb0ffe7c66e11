"""Checkpoints of a training under way: written whole or not at all, and read without unpickling objects."""

import io
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.plugins import CheckpointIO

from layers.network import whole


class WholeFiles(CheckpointIO):
    """Write files that appear whole, and read tensors and plain values alone, for Lightning."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | os.PathLike[str], storage_options: Any = None
    ) -> None:
        """Write the checkpoint; of all processes Lightning calls the first only."""
        buffer = io.BytesIO()  # torch.save straight to a full disk leaves a RuntimeError about its own archive
        torch.save(checkpoint, buffer)
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole(path) as temporary:
            temporary.write_bytes(buffer.getbuffer())

    def load_checkpoint(
        self,
        path: str | os.PathLike[str],
        map_location: Callable[..., Any] | None = None,
        weights_only: bool | None = None,
    ) -> dict[str, Any]:
        """Read the checkpoint; ValueError if it is damaged, or holds more than tensors and plain values."""
        try:
            return torch.load(path, map_location="cpu", weights_only=True)
        except (RuntimeError, EOFError, KeyError, pickle.UnpicklingError) as error:
            reason = f"{type(error).__name__}; remove it to begin this training anew"
            raise ValueError(f"{path} must be a whole checkpoint, got one that cannot be read ({reason})") from None

    def remove_checkpoint(self, path: str | os.PathLike[str]) -> None:
        """Delete the checkpoint if it is there."""
        Path(path).unlink(missing_ok=True)


def every_epoch(path: Path) -> ModelCheckpoint:
    """Keep one checkpoint, of the last complete epoch, at `path`, which ends in .ckpt."""
    return ModelCheckpoint(
        path.parent,
        path.stem,
        auto_insert_metric_name=False,
        save_on_train_epoch_end=True,
        enable_version_counter=False,
    )
