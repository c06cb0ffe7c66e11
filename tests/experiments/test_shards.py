"""Tar shards: shared out to ranks and workers, and every one that cannot be used named in a sentence."""

import io
import re
import tarfile
from collections import Counter

import pytest
import torch
from images_on_disk import said, write_shard, write_shards

from experiments.lab.config import Data
from experiments.lab.data import load_dataset
from experiments.lab.data.batches import Batches
from experiments.run.__main__ import main

pytestmark = pytest.mark.usefixtures("no_network")


def test_two_ranks_of_two_workers_share_tar_shards_out(tmp_path):
    root = write_shards(tmp_path / "shards", [f"{i:03d}.tar" for i in range(10)], each=11)  # more than 8: in processes
    dataset = load_dataset(Data("folder", root / "{000..009}.tar", image_size=72), 0)
    found, usual = Counter(), dataset.preprocessing
    for split, train in ((dataset.train(), True), (dataset.val(), False), (dataset.test(), False)):
        steps = []
        for rank in range(2):
            batches = Batches(split, dataset, 5, train=train, rank=rank, world=2, workers=2)
            steps.append(len(batches))
            for images, labels in batches:
                colours = (
                    images * torch.tensor(usual.std)[:, None, None] + torch.tensor(usual.mean)[:, None, None]
                ) * 255
                numbers = colours[:, 0, 0, 0].round().int()
                assert torch.equal(numbers % 4, labels)
                found.update(numbers.tolist())
        assert not train or steps[0] == steps[1]
    assert found == Counter(range(110))


def test_an_image_in_a_shard_that_is_corrupt_is_named(tmp_path, capsys):
    root = write_shards(tmp_path / "shards", ["train-0.tar", "val-0.tar"])
    path = root / "train-0.tar"
    content = path.read_bytes()
    path.write_bytes(content.replace(b"\x89PNG", b"none"))
    words = "--dataset imagenet --image-size 72 --workers 0 --model images_on_disk:tiny --max-epochs 1 --no-track"
    arguments = [*words.split(), "--data-root", str(root / "{train,val}-0.tar"), "--out", str(tmp_path / "runs")]
    assert main(arguments) == 2
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert re.match(r"error: image must be one that PIL can read, got .*train-0.tar", last), last


SHARDS = {
    "{000..002}.tar": r"shards must be files that exist, got \['.*002.tar'\]",
    "{000..001.tar": "data root must have a closing brace for each opening one",
    "cut.tar": "shard must be a whole tar file, not one that was cut off, got '.*cut.tar'",
    "text.tar": "shard must be a whole, uncompressed tar file, got .*text.tar",
    "unlabelled.tar": "images in .*unlabelled.tar must be each beside a .cls",
    "words.tar": "class of folder.v1/00000.cls in .*words.tar must be a number in ASCII, got b'cat'",
    "gap.tar": "class '1' in .*gap.tar must be a class with images",
    "{train-0,000}.tar": "names of the shards must be with train and with val or test in them",
}


@pytest.mark.parametrize("pattern", SHARDS)
def test_shards_that_cannot_be_used(pattern, tmp_path, capsys):
    root = write_shards(tmp_path / "shards", ["000.tar", "001.tar", "train-0.tar"])
    whole = (root / "000.tar").read_bytes()
    (root / "cut.tar").write_bytes(whole[: len(whole) // 2 - 700])
    (root / "text.tar").write_text("no tar")
    write_shard(root / "unlabelled.tar", range(8), label=lambda i, _: "1")
    with tarfile.open(root / "unlabelled.tar", "a") as shard:
        member = tarfile.TarInfo("alone.png")
        member.size = 3
        shard.addfile(member, io.BytesIO(b"abc"))
    write_shard(root / "words.tar", range(8), label=lambda i, _: "cat")
    write_shard(root / "gap.tar", range(8), label=lambda i, _: str(2 * (i % 2)))
    text = said(["--dataset", "imagenet", "--data-root", root / pattern, "--model", "resnet18"], tmp_path, capsys)
    assert re.search(SHARDS[pattern], text), text
