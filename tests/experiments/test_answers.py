"""A network of one's own may answer with a tuple or a dictionary: its class scores count."""

import torch
from torch import nn

from experiments.lab.models import answer_scores


class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.last = nn.Linear(3, 4)

    def forward(self, x):
        return {"features": x[:, :, None], "logits": self.last(x)}


def test_a_network_of_several_answers_gives_its_scores_from_then_on():
    net, x = Two(), torch.randn(2, 3)
    assert answer_scores(net, x).shape == (2, 4)
    assert torch.equal(net(x), net.last(x))


def test_what_is_a_tensor_or_holds_no_scores_stays_as_it_is():
    assert answer_scores(nn.Linear(3, 4), torch.randn(2, 3)).shape == (2, 4)
    assert answer_scores(nn.Identity(), "words") == "words"
