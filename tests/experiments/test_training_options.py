"""What the options of training change: each against its formula, and every setting out of range refused."""

import copy

import pytest
import torch
from lightning import Callback
from little import PLAIN, Linear, fit, little
from torch import nn

from experiments.lab.config import Training
from experiments.lab.data import Dataset, Split
from experiments.lab.models.lenet import LeNet
from experiments.lab.training.average import moving_average
from experiments.lab.training.loss import distillation
from experiments.lab.training.trainer import check_training


def test_a_clipped_step_has_the_norm_of_the_clip():
    model = Linear()
    fit(model, little(), Training(**{**vars(PLAIN), "clip": 0.01}))
    assert torch.cat([p.detach().flatten() for p in model.parameters()]).norm() == pytest.approx(0.1 * 0.01, rel=1e-4)


def test_label_smoothing_takes_its_part_of_the_gradient():
    plain, smooth = Linear(), Linear()
    fit(plain, little())
    fit(smooth, little(), Training(**{**vars(PLAIN), "label_smoothing": 0.5}))
    torch.testing.assert_close(smooth[1].weight, plain[1].weight / 2)


def test_distillation_is_its_formula_and_zero_at_the_teacher():
    logits, teacher = torch.tensor([[1.0, 2.0, 0.0]]), torch.tensor([[0.0, 3.0, 1.0]])
    p, q = (teacher / 2).softmax(1), (logits / 2).softmax(1)
    assert float(distillation(logits, teacher, 2.0)) == pytest.approx(float(4 * (p * (p / q).log()).sum()), rel=1e-5)
    assert float(distillation(teacher, teacher, 2.0)) == 0


def test_a_teacher_alone_is_followed_against_the_labels():
    dataset, model, teacher = little(), Linear(), Linear()
    images, labels, *_ = dataset.train()
    wrong = Dataset(*[lambda: Split(images, 1 - labels)] * 3, *dataset[3:])
    fit(teacher, dataset, epochs=5)
    told = copy.deepcopy(teacher.state_dict())
    distilled = Training(**{**vars(PLAIN), "distill": 1.0})
    assert fit(model, wrong, distilled, epochs=5, teacher=teacher) == 0  # all against the wrong labels
    assert all(torch.equal(tensor, told[name]) for name, tensor in teacher.state_dict().items())
    assert teacher.training


def test_the_average_of_weights_is_what_is_kept():
    averages = [torch.zeros(1)]
    update = moving_average(0.5)
    for step, value in enumerate((1.0, 2.0, 3.0), 1):
        update(averages, [torch.tensor([value])], step)
    # decays 2/11, 3/12, 4/13, all below one half
    expected = 4 / 13 * (3 / 12 * (9 / 11 * 1) + 9 / 12 * 2) + 9 / 13 * 3
    assert float(averages[0]) == pytest.approx(expected)
    last, average = Linear(), Linear()
    fit(last, little(), batch=8)
    fit(average, little(), Training(**{**vars(PLAIN), "ema": 0.9}), batch=8)
    assert 0 < average[1].weight.norm().item() < last[1].weight.norm().item()


@pytest.mark.parametrize("option", [{"mixup": 0.5}, {"cutmix": 1.0}, {"mixup": 0.5, "cutmix": 1.0}])
def test_mixing_draws_from_the_seed_and_still_learns(option):
    weights, config = [], Training(**{**vars(PLAIN), **option})
    for _ in range(2):
        model = Linear()
        assert fit(model, little(), config, epochs=3, batch=16) == 100
        weights.append(model[1].weight)
    assert torch.equal(*weights)
    plain = Linear()
    fit(plain, little(), epochs=3, batch=16)
    assert not torch.allclose(weights[0], plain[1].weight)


class Normed(nn.Module):
    """One BatchNorm between two layers, for images of any brightness."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.out = nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3, momentum=1e-4), nn.Linear(12, 2)

    def forward(self, x):
        return self.out(self.norm(self.conv(x)).relu().flatten(1))


def test_batchnorm_statistics_are_measured_anew_for_the_weights_that_are_kept():
    torch.manual_seed(0)
    model, dataset = Normed(), little()
    fit(model, dataset, Training(**{**vars(PLAIN), "batchnorm": "reestimate"}), epochs=2, batch=64)
    x = (dataset.train().images.float() / 255 - 0.5) / 0.3
    y = model.conv(x)
    torch.testing.assert_close(model.norm.running_mean, y.mean((0, 2, 3)), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(model.norm.running_var, y.transpose(0, 1).flatten(1).var(1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "option",
    [{"precision": "bf16"}, {"channels_last": True}, pytest.param({"compile": True}, marks=pytest.mark.slow)],
    ids=str,
)
def test_faster_arithmetic_leaves_the_network_as_it_was_laid_out(option):
    torch.manual_seed(0)
    model, dataset = LeNet(2), little(size=32)
    layout = {name: (p.dtype, p.stride()) for name, p in model.named_parameters()}
    assert fit(model, dataset, Training(**{**vars(PLAIN), **option}), epochs=4, lr=0.02, batch=16) > 90
    assert {name: (p.dtype, p.stride()) for name, p in model.named_parameters()} == layout
    assert model._compiled_call_impl is None


class Count(Callback):
    epochs = 0

    def on_train_epoch_start(self, trainer, module):
        self.epochs += 1


def test_patience_ends_a_training_that_no_longer_gets_better():
    count = Count()
    assert fit(Linear(), little(), Training(**{**vars(PLAIN), "patience": 2}), epochs=20, callbacks=[count]) == 100
    assert count.epochs == 3  # the first is perfect, two more are not better


def test_a_training_that_ended_early_ends_again_when_it_is_resumed(tmp_path):
    count, patient, models = Count(), Training(**{**vars(PLAIN), "patience": 2}), [Linear(), Linear()]
    for model in models:
        fit(model, little(), patient, epochs=20, checkpoint=tmp_path / "x.ckpt", callbacks=[count])
    assert count.epochs == 3
    assert torch.equal(models[0][1].weight, models[1][1].weight)


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ({"lr": 0.0}, "lr must be above 0"),
        ({"momentum": 1.0}, "momentum must be from 0 to below 1"),
        ({"weight_decay": -1.0}, "weight decay must be"),
        ({"warmup_epochs": -1.0}, "warmup epochs must be"),
        ({"step_size": 0}, "step size must be"),
        ({"gamma": 0.0}, "gamma must be"),
        ({"label_smoothing": 1.0}, "label smoothing must be"),
        ({"mixup": -1.0}, "mixup must be"),
        ({"cutmix": -1.0}, "cutmix must be"),
        ({"ema": 1.0}, "ema must be"),
        ({"distill": 2.0}, "distill must be from 0 to 1"),
        ({"temperature": 0.0}, "temperature must be"),
        ({"clip": 0.0}, "clip must be"),
        ({"patience": 0}, "patience must be"),
        ({"devices": 0}, "devices must be at least 1"),
        ({"nodes": 0}, "nodes must be at least 1"),
        ({"precision": "16"}, "precision must be 32 or bf16 on a CPU"),
        ({"strategy": "fsdp"}, "strategy must be auto or ddp on a CPU"),
        ({"batchnorm": "sync", "devices": 2}, "batchnorm must be local or reestimate on a CPU"),
    ],
)
def test_settings_out_of_range_are_refused(option, words):
    with pytest.raises(ValueError, match=words):
        check_training(Training(**option), "cpu")
