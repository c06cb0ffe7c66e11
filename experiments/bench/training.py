"""What an epoch of `train`, Lightning's loop and all, is timed against: the loop that PyTorch's tutorials write out."""

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from ..lab.config import Training
from ..lab.data import Dataset, Preprocessing, Split
from ..lab.data.batches import Batches
from ..lab.models import build
from ..lab.training.train import train
from .row import Row

LR = 2e-3


def noise_images(images: int) -> Dataset:
    """Return noise of the size of CIFAR-10, and ten images to validate on: validation is not what is timed."""
    draw = torch.Generator().manual_seed(0)

    def split(n: int) -> Split:
        pixels = torch.randint(256, (n, 3, 32, 32), generator=draw).to(torch.uint8)
        return Split(pixels, torch.randint(10, (n,), generator=draw), shift=4, flip=True)

    parts, names = {"train": split(images), "val": split(10)}, [str(digit) for digit in range(10)]
    return Dataset(
        lambda: parts["train"],
        lambda: parts["val"],
        lambda: parts["val"],
        names,
        Preprocessing((0.5,) * 3, (0.25,) * 3),
        epochs=1,
    )


def training_cases(model: str = "resnet20", batch: int = 128, steps: int | None = None) -> list[Row]:
    """Time our `train` from call to return, start-up and validation included, against the steps alone."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    steps = steps or (200 if device == "cuda" else 10)
    dataset = noise_images(steps * batch)

    def ours() -> float:
        network = build(model, 10, 3)
        return train(network, dataset, Training(), epochs=1, lr=LR, batch_size=batch, seed=0)

    def theirs() -> Tensor:
        network = build(model, 10, 3).to(device)
        optimizer = torch.optim.AdamW(network.parameters(), LR, weight_decay=1e-2)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LR, steps)
        for images, labels in Batches(dataset.train(), dataset, batch, train=True, device=device):
            optimizer.zero_grad()
            loss = cross_entropy(network(images), labels)
            loss.backward()
            optimizer.step()
            schedule.step()
        return loss.detach()

    work = f"{steps} training steps of {model}, batch {batch}, 32x32, {device}"
    return [Row(work, "a bare loop in torch", ours, theirs, 1 / 1.1)]
