"""What is read when, and by whom: every image once an epoch, the same to any number of ranks and workers."""

from collections import Counter

import pytest
import torch
from hypothesis import given, strategies as st
from images_on_disk import write_images, write_named
from PIL import Image
from torchvision.models import ResNet18_Weights
from torchvision.transforms import v2

from experiments.lab.config import Config, Data
from experiments.lab.data import load_dataset
from experiments.lab.data.augmentation import move
from experiments.lab.data.batches import Batches, Order

pytestmark = pytest.mark.usefixtures("no_network")


@pytest.fixture
def written(tmp_path, monkeypatch):
    """name -> Data of a tiny dataset in the format of the real one."""
    return lambda name: write_named(name, tmp_path / "data", monkeypatch)


@given(n=st.integers(1, 200), size=st.integers(1, 20), world=st.integers(1, 5), seed=st.integers(0, 3))
def test_every_rank_has_its_share_and_no_image_is_lost_or_repeated(n, size, world, seed):
    evaluated = [Order(n, size, False, seed, rank, world) for rank in range(world)]
    places = [batch for order in evaluated for batch in order.draw().batches]
    assert torch.equal(torch.cat(places).sort().values, torch.arange(n))
    assert [len(order) for order in evaluated] == [len(order.draw().batches) for order in evaluated]
    if n < world:
        with pytest.raises(ValueError, match="training images must be at least one for each"):
            Order(n, size, True, seed, 0, world)
        return
    ranks = [Order(n, size, True, seed, rank, world) for rank in range(world)]
    draws = [order.draw().batches for order in ranks]
    assert torch.equal(torch.cat([batch for batches in draws for batch in batches]).sort().values, torch.arange(n))
    assert {len(batches) for batches in draws} == {len(order) for order in ranks}  # as many steps on every rank
    least = min(len(batch) for batches in draws for batch in batches)
    assert least >= min(2, n // world, size)
    assert all(len(batch) == size for batches in draws for batch in batches[:-1])
    # together the ranks take the steps of one process with the doubled batch
    alone = Order(n, size * world, True, seed, 0, 1).draw().batches
    together = [torch.cat(step) for step in zip(*draws)]
    assert all(torch.equal(a, b) for a, b in list(zip(alone, together))[: len(together) - 1])


def test_epochs_differ_and_can_be_taken_up(written):
    dataset = load_dataset(written("digits"), 0)
    split = dataset.val()
    batches = Batches(split, dataset, 50, train=True, seed=5)
    first, second = list(batches), list(batches)
    assert not torch.equal(first[0][0], second[0][0])
    later = Batches(split, dataset, 50, train=True, seed=5)
    later.epoch = 1
    torch.manual_seed(99)  # what else was drawn is no matter
    assert all(torch.equal(a[0], b[0]) and torch.equal(a[1], b[1]) for a, b in zip(second, later))
    other = next(iter(Batches(split, dataset, 50, train=True, seed=6)))
    assert not torch.equal(first[0][1], other[1])


@pytest.mark.parametrize("name", ["digits", "shards"])
def test_an_image_looks_the_same_to_any_number_of_ranks_and_workers(name, written):
    dataset = load_dataset(written(name), 0)
    split = dataset.train()

    def seen(world, workers):
        shares = [Batches(split, dataset, 8, train=True, rank=r, world=world, workers=workers) for r in range(world)]
        return Counter(image.numpy().tobytes() for batches in shares for images, _ in batches for image in images)

    alone = seen(1, 0)
    assert alone.total() == len(split.labels)
    assert seen(2, 0) == seen(2, 2 if name == "shards" else 0) == alone


@given(most=st.integers(0, 4), flip=st.booleans(), seed=st.integers(0, 99))
def test_augmentation_is_torchvisions_crop_and_flip_image_by_image(most, flip, seed):
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(1, 256, (4, 3, 9, 7), generator=generator).to(torch.uint8)
    shift = torch.randint(-most, most + 1, (4, 2), generator=generator)
    mirrored = torch.rand(4, generator=generator) < 0.5 * flip
    ours = move(images, shift, mirrored)
    for image, (down, right), mirror, mine in zip(images, shift.tolist(), mirrored, ours):
        theirs = v2.functional.crop(v2.functional.pad(image, [most]), most + down, most + right, 9, 7)
        assert torch.equal(mine, v2.functional.horizontal_flip(theirs) if mirror else theirs)


def test_images_in_memory_are_resized_batch_by_batch(written):
    dataset = load_dataset(Data("digits", image_size=48), 0)
    images, _ = next(iter(Batches(dataset.test(), dataset, 4)))
    assert dataset.test().images.shape[-1] == 32
    assert images.shape == (4, 1, 48, 48)


def test_evaluation_crops_as_torchvisions_weights_expect(tmp_path):
    root = write_images(tmp_path, ("train", "val"), (300, 260), n=2)
    dataset = load_dataset(Data("imagenet", root), 0)
    ours, _ = next(iter(Batches(dataset.test(), dataset, 1, workers=0)))
    image = Image.open(root / "val" / "cat" / "0.png")
    torch.testing.assert_close(ours[0], ResNet18_Weights.DEFAULT.transforms()(image), atol=1e-6, rtol=0)


def test_workers_have_no_part_in_a_runs_name():
    assert Config(data=Data(workers=3)).name == Config().name
