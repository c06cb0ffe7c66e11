"""Accuracy and loss on a split: by hand, and every image counted once."""

import pytest
import torch
from torch import nn

from experiments.lab.config import Data
from experiments.lab.data import load_dataset
from experiments.lab.data.batches import Batches
from experiments.lab.evaluation.evaluate import accuracy


def test_accuracy_by_hand(monkeypatch):
    dataset = load_dataset(Data(), 0)
    split = dataset.test()
    logits = torch.zeros(len(split.labels), 10)
    logits[torch.arange(len(logits)), split.labels] = 1.0  # right
    logits[:36] = 0.0
    logits[:36, :] = torch.nn.functional.one_hot((split.labels[:36] + 1) % 10, 10) * 3.0  # a tenth is wrong
    logits[:36] += torch.nn.functional.one_hot(split.labels[:36], 10) * 2.0  # half of that second
    logits[:18] -= torch.nn.functional.one_hot(split.labels[:18], 10) * 9.0  # the other half last

    class Known(nn.Module):
        def __init__(self):
            super().__init__()
            self.at = 0

        def forward(self, x):
            self.at += len(x)
            return logits[self.at - len(x) : self.at]

    found = accuracy(Known(), split, dataset, "cpu")
    assert (found.top1, found.top5) == (90.0, 95.0)
    assert found.loss == pytest.approx(torch.nn.functional.cross_entropy(logits, split.labels).item(), rel=1e-5)
    assert sum(len(labels) for _, labels in Batches(split, dataset, 500)) == len(split.labels)
