"""As many images at once as memory takes, and one sentence where it runs out."""

import numpy as np
import pytest
import torch
from torch import nn

from experiments.lab.command import door
from experiments.lab.config import Config
from experiments.lab.data import Dataset, Split
from experiments.lab.data.preprocessing import seen_whole
from experiments.lab.evaluation import evaluate
from experiments.lab.evaluation.calibration import Calibration
from layers.costs import images_at_once


def net():
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )


def test_what_one_image_takes_divides_what_all_may():
    x = torch.zeros(2, 3, 32, 32)
    outputs = 8 * 32 * 32 * 4  # bytes of the first convolution's, and as many of the activation's
    for gradients, least in ((False, 2 * outputs), (True, 2 * outputs)):
        many = images_at_once(net(), x, 10**6, gradients, limit=2**30)
        assert 0.5 * 2**30 / (3 * outputs) <= many <= 2**30 / least
    assert images_at_once(net(), x, 7) == 7
    assert images_at_once(net(), x, 7, limit=1) == 1


def test_a_way_back_takes_more_than_a_way_forward():
    deep = nn.Sequential(*(nn.Sequential(nn.Conv2d(3, 3, 1), nn.Sigmoid()) for _ in range(12)))
    x = torch.zeros(1, 3, 32, 32)
    assert images_at_once(deep, x, 10**6) > 3 * images_at_once(deep, x, 10**6, gradients=True)


@pytest.fixture
def large():
    images = torch.randint(0, 256, (40, 3, 80, 80), dtype=torch.uint8)
    split = Split(images, torch.arange(40) % 4)
    facts = seen_whole((0.5,) * 3, (0.25,) * 3, None)
    return Dataset(lambda: split, lambda: split, lambda: split, list("abcd"), facts, epochs=1)


def test_large_images_are_judged_and_calibrated_in_batches_that_fit(large, monkeypatch):
    seen, model = [], net()
    model.register_forward_pre_hook(lambda _, args: seen.append(len(args[0])))
    whole = evaluate.judge(model, large.test(), large, "cpu")
    assert max(seen) == 40
    monkeypatch.setattr(evaluate, "images_at_once", lambda *args: 7)
    del seen[:]
    parts = evaluate.judge(model, large.test(), large, "cpu")
    assert max(seen) == 7
    for a, b in zip(whole, parts):
        torch.testing.assert_close(a, b)
    drawn = Calibration(model, large.train().part(np.arange(20)), large, 0, "cpu")
    assert [len(images) for images, _ in drawn.batches] == [7, 7, 6]


def test_memory_that_runs_out_is_one_sentence_that_says_what_to_lower(capsys):
    def act(config):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB")

    assert door("run", Config, act)([]) == 2
    sentence = capsys.readouterr().err
    assert sentence.startswith("error: memory must suffice (lower --calibration-images, --image-size")
    assert sentence.count("\n") == 1


def test_other_errors_of_the_program_stay_what_they_are():
    def act(config):
        raise RuntimeError("a mistake")

    with pytest.raises(RuntimeError, match="a mistake"):
        door("run", Config, act)([])
