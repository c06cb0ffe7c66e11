"""Two processes on a CPU: the steps of one process with the doubled batch, every image evaluated exactly once."""

import os

import pytest
import torch
from processes import free_port, two
from torch import nn

from experiments.lab.config import Training
from experiments.lab.data import Dataset, Preprocessing, Split
from experiments.lab.data.batches import Batches
from experiments.lab.models.lenet import LeNet
from experiments.lab.training import distributed
from experiments.lab.training.train import train

SEEN = []  # the numbers of the images that this process has evaluated


class Numbered(nn.Module):
    """LeNet in float64, so that nothing but a wrong gradient can tell two runs apart; notes what it evaluates."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.net = LeNet().double()

    def forward(self, images):
        if not self.training:
            SEEN.extend((images[:, 0, 0, 0] * 255).round().long().tolist())
        return self.net(images.double())


def dataset(images):
    """Noise without augmentation; the first pixel of a validation image is its number."""
    draw = torch.Generator().manual_seed(1)
    pixels = torch.randint(256, (images, 1, 32, 32), generator=draw).to(torch.uint8)
    labels = torch.randint(10, (images,), generator=draw)
    train, val = Split(pixels, labels), Split(pixels[:77].clone(), labels[:77])
    val.images[:, 0, 0, 0] = torch.arange(77)
    names = [str(digit) for digit in range(10)]
    return Dataset(lambda: train, lambda: val, lambda: val, names, Preprocessing((0.0,), (1.0,)), 1)


def twenty_steps(images, batch, devices):
    """(weights, validation accuracy, what was evaluated) after an epoch of 20 steps."""
    config = Training(
        optimizer="sgd", schedule="constant", clip=1.0, ema=0.5, devices=devices, accelerator="cpu", rep=True
    )
    SEEN.clear()
    with distributed.processes(config, "cpu"):
        model = Numbered()
        val = train(model, dataset(images), config, epochs=1, lr=0.05, batch_size=batch, seed=0)
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}, val, list(SEEN)


class Normed(nn.Module):
    """One BatchNorm in float64; `moments` of what enters it are what its statistics must be."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.norm, self.out = nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Linear(3, 10)
        self.double()

    def forward(self, images):
        return self.out(self.norm(self.conv(images.double())).relu().mean((2, 3)))

    def moments(self, images):
        y = self.conv(images.double() / 255).detach().transpose(0, 1).flatten(1)
        return y.mean(1), y.var(1)


def measured_anew():
    """A network whose BatchNorm statistics two processes have measured on 44 images each."""
    config = Training(optimizer="sgd", batchnorm="reestimate", devices=2, accelerator="cpu", rep=True)
    with distributed.processes(config, "cpu"):
        model = Normed()
        train(model, dataset(88), config, epochs=2, lr=0.05, batch_size=44, seed=0)
    return model.state_dict()


def member(number, port, out, images):
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), LOCAL_RANK=str(number), WORLD_SIZE="2")
    torch.set_num_threads(1)
    torch.save((twenty_steps(images, 8, devices=2), measured_anew()), out / f"{number}.pt")


@pytest.fixture(scope="module", params=[20 * 16, 20 * 16 - 5], ids=["even", "a last batch of 11"])
def both(request, tmp_path_factory):
    """(what two processes end with, what one with the doubled batch ends with)."""
    out = tmp_path_factory.mktemp("two")
    assert two(member, free_port(), out, request.param) == [0, 0]
    pair, normed = zip(*(torch.load(out / f"{number}.pt") for number in range(2)))
    return pair, twenty_steps(request.param, 16, devices=1), normed


def test_two_processes_take_the_steps_of_one_with_the_doubled_batch(both):
    pair, (alone, val, _), _ = both
    before = Numbered().state_dict()
    for weights, accuracy, _ in pair:
        assert accuracy == val
        for name, tensor in alone.items():
            assert (tensor - weights[name]).abs().max() <= 1e-6
            assert (tensor - before[name]).abs().max() > 1e-4  # it has moved at all


def test_every_image_is_evaluated_exactly_once(both):
    pair, _, _ = both
    shares = [seen for _, _, seen in pair]
    assert sorted(shares[0] + shares[1]) == list(range(77))
    assert abs(len(shares[0]) - len(shares[1])) <= 1


def test_batchnorm_statistics_measured_anew_are_those_of_all_images(both):
    for weights in both[2]:
        model = Normed()
        model.load_state_dict(weights)
        mean, var = model.moments(dataset(88).train().images)
        torch.testing.assert_close(model.norm.running_mean, mean, rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(model.norm.running_var, var, rtol=1e-3, atol=0)  # n - 1 of each half


@pytest.mark.parametrize("world", [1, 2, 3])
@pytest.mark.parametrize("images", [3, 16, 47, 48, 49, 53])
def test_the_processes_share_an_epoch_without_loss_or_repeat(world, images):
    source = dataset(77)
    numbered = Split(torch.arange(images, dtype=torch.uint8)[:, None, None, None], torch.arange(images))
    parts = [Batches(numbered, source, 8, train=True, seed=3, rank=r, world=world) for r in range(world)]
    for part in parts:
        part.epoch = 5
    batches = [[labels.tolist() for _, labels in part] for part in parts]
    assert len({len(part) for part in batches} | {len(part) for part in parts}) == 1  # gradients need every process
    assert sorted(i for part in batches for batch in part for i in batch) == list(range(images))
    assert all(batch for part in batches for batch in part)
    again = Batches(numbered, source, 8, train=True, seed=3, world=world)
    again.epoch = 5
    assert [labels.tolist() for _, labels in again] == batches[0]
