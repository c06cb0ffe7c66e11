"""`fold_batchnorm`: the same answers with fewer layers, and nothing folded that another reader would miss."""

import pytest
import torch
from torch import nn

from layers import METHODS, fold_batchnorm, replace


class Branches(nn.Module):
    """A residual block whose second convolution is read by its BatchNorm and by the sum as well."""

    def __init__(self, grouped=2):
        super().__init__()
        self.before, self.conv, self.norm = nn.BatchNorm2d(4), nn.Conv2d(4, 8, 3, groups=grouped), nn.BatchNorm2d(8)
        self.again, self.shared, self.head = nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.Linear(8, 6)
        self.last = nn.BatchNorm1d(6, affine=False)

    def forward(self, x):
        y = self.norm(self.conv(self.before(x))).relu()
        z = self.again(y)
        return self.last(self.head((self.shared(z) + z).mean((2, 3))))


@pytest.fixture
def model():
    torch.manual_seed(0)
    model = Branches()
    for norm in (module for module in model.modules() if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)):
        nn.init.uniform_(norm.running_mean)
        nn.init.uniform_(norm.running_var, 0.5, 2)
        if norm.affine:
            nn.init.normal_(norm.weight)
            nn.init.normal_(norm.bias)
    return model


def test_answers_stay_and_what_is_read_elsewhere_is_not_folded(model):
    x = torch.randn(5, 4, 9, 9)
    folded = fold_batchnorm(model, x)
    assert {n for n, m in folded.named_modules() if isinstance(m, nn.Identity)} == {"norm", "last"}
    with torch.no_grad():
        torch.testing.assert_close(folded.eval()(x), model.eval()(x), rtol=1e-5, atol=1e-5)
    assert folded.conv.bias is not None


def test_the_network_and_its_modes_are_left_alone(model):
    kept, x = {k: v.clone() for k, v in model.state_dict().items()}, torch.randn(2, 4, 9, 9)
    model.train()
    assert fold_batchnorm(model, x).training
    assert isinstance(model.norm, nn.BatchNorm2d)
    assert all(torch.equal(kept[key], value) for key, value in model.state_dict().items())
    assert fold_batchnorm(model.eval(), x).training is False


def test_it_goes_into_the_last_factor_of_a_layer(model):
    x = torch.randn(2, 4, 9, 9)
    svd = METHODS["svd"]
    small = replace(model.eval(), lambda name, layer: svd.build(layer, {"rank": 2}) if name == "conv" else None)
    assert isinstance(small.conv, nn.Sequential)
    folded = fold_batchnorm(small, x)
    assert folded.conv[0].bias is None
    assert isinstance(folded.norm, nn.Identity)
    with torch.no_grad():
        torch.testing.assert_close(folded(x), small(x), rtol=1e-5, atol=1e-5)
