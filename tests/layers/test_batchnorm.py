"""BatchNorm statistics measured anew: the average over batches, and nothing else of the network changes."""

import copy

import pytest
import torch
from torch import nn

from layers import reestimate_batchnorm


class Normed(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.drop = nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3, momentum=0.3), nn.Dropout(0.9)
        self.head, self.last = nn.Linear(3, 4), nn.BatchNorm1d(4, track_running_stats=False)

    def forward(self, x):
        return self.last(self.head(self.drop(self.norm(self.conv(x)).mean((2, 3)))))


def test_batchnorm_statistics_are_the_average_over_batches():
    torch.manual_seed(0)
    model = Normed()
    model.norm.running_mean.fill_(9)
    model.head.eval()
    batches, kept = [torch.randn(n, 1, 6, 6) + n for n in (2, 5, 3)], copy.deepcopy(model.state_dict())
    again = reestimate_batchnorm(model, [(batch, None) for batch in batches])
    with torch.no_grad():
        maps = [model.conv(batch).transpose(0, 1).flatten(1) for batch in batches]
    torch.testing.assert_close(again.norm.running_mean, sum(m.mean(1) for m in maps) / 3)
    torch.testing.assert_close(again.norm.running_var, sum(m.var(1) for m in maps) / 3)
    assert again.norm.momentum == 0.3
    assert [m.training for m in again.modules()] == [m.training for m in model.modules()]
    torch.testing.assert_close(model.state_dict(), kept, rtol=0, atol=0)


def test_dropout_stays_off_while_batchnorm_is_measured():
    model = nn.Sequential(nn.Dropout(0.9), nn.BatchNorm1d(4))
    x = torch.randn(20, 4)
    torch.testing.assert_close(reestimate_batchnorm(model, [x])[1].running_mean, x.mean(0))
    with pytest.raises(ValueError, match="batches must be at least one batch of images"):
        reestimate_batchnorm(model, [])
