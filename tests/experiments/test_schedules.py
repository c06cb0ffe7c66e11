"""Schedules and optimizers: learning rates by hand, and settings that arrive."""

import math

import pytest
import torch
from torch import nn
from torch.optim import SGD, AdamW

from experiments.lab.config import Training
from experiments.lab.training.schedules import OPTIMIZERS, SHAPES, make_schedule


def rates(config, epochs=10, steps=4, lr=1.0):
    weight = nn.Parameter(torch.zeros(1))
    optimizer = OPTIMIZERS[config.optimizer]([weight], lr, config)
    schedule = make_schedule(optimizer, config, lr, epochs, steps)
    found = []
    for _ in range(epochs * steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return found


def test_schedules_by_hand():
    assert set(SHAPES) | {"onecycle"} == {"onecycle", "cosine", "step", "constant"}
    cosine = rates(Training(schedule="cosine"))
    assert cosine[0] == 1
    assert cosine[20] == pytest.approx(0.5)
    assert cosine[39] == pytest.approx((1 + math.cos(math.pi * 39 / 40)) / 2)
    steps = rates(Training(schedule="step", step_size=3, gamma=0.1))
    assert steps == pytest.approx([0.1 ** (number // 12) for number in range(40)])
    assert rates(Training(schedule="constant")) == [1] * 40
    warm = rates(Training(schedule="cosine", warmup_epochs=2))
    assert warm[:8] == pytest.approx([(number + 1) / 9 for number in range(8)])
    assert warm[8] == max(warm) == 1
    cycle = rates(Training(schedule="onecycle", warmup_epochs=5))
    assert cycle.index(max(cycle)) == 19
    assert rates(Training()).index(max(rates(Training()))) == 11  # three tenths of 40


def test_optimizers_take_their_settings():
    weight = [nn.Parameter(torch.zeros(1))]
    sgd = OPTIMIZERS["sgd"](weight, 0.1, Training(momentum=0.8, weight_decay=0.02))
    assert isinstance(sgd, SGD)
    assert {sgd.defaults[key] for key in ("momentum", "weight_decay", "nesterov")} == {0.8, 0.02, True}
    adamw = OPTIMIZERS["adamw"](weight, 0.1, Training())
    assert isinstance(adamw, AdamW)
    assert adamw.defaults["weight_decay"] == 0.01
