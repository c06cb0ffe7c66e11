"""Training: known arithmetic, every option has its effect, and what cannot go on says why in one sentence."""

import copy
import math
import re
import resource
import signal

import pytest
import torch
from lightning import Callback
from torch import nn
from torch.optim import SGD, AdamW

from experiments import checkpoint
from experiments.average import moving_average
from experiments.config import Training
from experiments.data import Dataset, Split
from experiments.loss import distillation
from experiments.models.lenet import LeNet
from experiments.run import main
from experiments.schedules import OPTIMIZERS, SHAPES, make_schedule
from experiments.stopped import Diverged, NoRoom, Stopped
from experiments.train import train
from experiments.trainer import check_training
from layers import METHODS


def little(images=64, classes=2, channels=1, size=4):
    """Images whose brightness is their class."""
    labels = torch.arange(images) % classes
    draw = torch.Generator().manual_seed(0)
    noise = torch.randint(60, (images, channels, size, size), generator=draw)
    split = Split((noise + 190 // (classes - 1) * labels[:, None, None, None]).to(torch.uint8), labels)
    names = [str(label) for label in range(classes)]
    mean, std = (0.5,) * channels, (0.3,) * channels
    return Dataset(lambda: split, lambda: split, lambda: split, names, mean, std, 1, shift=0, flip=False)


class Linear(nn.Sequential):
    def __init__(self, inputs=16, classes=2, zero=True):
        super().__init__(nn.Flatten(), nn.Linear(inputs, classes))
        for parameter in self.parameters() if zero else ():
            nn.init.zeros_(parameter)


def fit(model, dataset, config=None, epochs=1, lr=0.1, batch=64, **more):
    return train(model, dataset, config or PLAIN, epochs=epochs, lr=lr, batch_size=batch, seed=0, **more)


PLAIN = Training(optimizer="sgd", momentum=0.0, weight_decay=0.0, schedule="constant", accelerator="cpu", rep=True)


def test_one_step_of_gradient_descent_by_hand():
    dataset, model = little(), Linear()
    images, labels = dataset.train()
    fit(model, dataset)
    x = ((images.float() / 255 - 0.5) / 0.3).flatten(1)
    # at zero weights the softmax is 1/2 everywhere, so dL/dlogit = 1/2 - [class]
    error = 0.5 - torch.nn.functional.one_hot(labels, 2).float()
    torch.testing.assert_close(model[1].weight, -0.1 * error.T @ x / len(x))
    torch.testing.assert_close(model[1].bias, -0.1 * error.mean(0))


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
    images, labels = dataset.train()
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


class Broken(nn.Module):
    """A network that can evaluate but not learn, for one reason or another."""

    def __init__(self, why):
        super().__init__()
        self.why, self.steps, self.linear = why, 0, nn.Linear(16, 2)

    def forward(self, x):
        self.steps += self.training
        y = self.linear(x.flatten(1))
        if self.training and self.why == "forward":
            raise KeyError("no such layer")
        if self.training and self.why == "graph":
            return y.detach()
        if self.training and self.why == "memory":
            torch.empty(2**60)
        return y * float("nan") if self.why == "third loss" and self.steps == 3 else y


@pytest.mark.parametrize(
    ("why", "words"),
    [
        ("forward", r"first batch of 64x1x4x4, got KeyError: 'no such layer' at .*test_train.py:\d+$"),
        ("graph", "first batch of 64x1x4x4, got RuntimeError: element 0 of tensors does not require grad"),
    ],
)
def test_a_model_that_fails_on_the_first_batch(why, words):
    with pytest.raises(Stopped, match=words):
        fit(Broken(why), little())


def test_a_first_batch_without_room_is_told_from_other_failures():
    with pytest.raises(NoRoom, match=r"first batch of 64x1x4x4, got RuntimeError: .*can't allocate memory"):
        fit(Broken("memory"), little())
    with pytest.raises(Stopped) as other:
        fit(Broken("forward"), little())
    assert type(other.value) is Stopped


def test_a_loss_that_is_no_number_names_its_step():
    with pytest.raises(Diverged, match="loss must be finite, got nan at step 3: try a lower --lr"):
        fit(Broken("third loss"), little(), batch=16)
    with pytest.raises(Diverged, match=r"got (nan|inf) at step"):
        fit(Linear(zero=False), little(), lr=1e38, epochs=5)


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


@pytest.mark.parametrize("kernel", ["cp", "cp4"])
def test_the_factors_of_cp_share_every_term_evenly(kernel):
    """What lets CP be fine-tuned at the learning rates of the other kernels: one steep factor limits all others."""
    torch.manual_seed(0)
    layer = nn.Conv2d(8, 12, 3)
    *terms, last = (conv.weight for conv in METHODS[kernel].build(layer, {"rank": 5}) if hasattr(conv, "weight"))
    norms = [weight.detach().flatten(1).norm(dim=1) for weight in terms]
    for norm in norms:
        torch.testing.assert_close(norm, last.detach().flatten(1).norm(dim=0))


def make_broken(classes, channels):
    class Network(LeNet):
        def forward(self, x):
            if self.training:
                raise KeyError("no such layer")
            return super().forward(x)

    return Network(classes, channels)


SHORT = ["--no-track", "--max-epochs", "2", "--finetune-epochs", "0", "--kernel", "svd", "--rep"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--model", "test_train:make_broken"], "model must train on a first batch of 64x1x32x32, got KeyError"),
        (["--lr", "1e30"], "loss must be finite, got .* at step [0-9]+: try a lower --lr, --clip 1"),
        (["--clip", "0"], "clip must be above 0, got 0.0"),
    ],
)
def test_what_cannot_go_on_ends_the_command_with_2_and_one_sentence(arguments, words, tmp_path, capsys):
    assert main([*SHORT, *arguments, "--out", str(tmp_path)]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert re.match(f"error: {words}", last), last
    assert not list(tmp_path.rglob("*.safetensors"))


def test_on_a_full_disk_the_old_checkpoint_survives_and_the_run_goes_on_later(tmp_path, capsys):
    """The disk is full for files above a limit, set between the first checkpoint and the second."""
    files, old = checkpoint.WholeFiles(), tmp_path / "x.ckpt"
    files.save_checkpoint({"weights": torch.zeros(10)}, old)
    before = old.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # so that writing fails as it does without room
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            files.save_checkpoint({"weights": torch.zeros(100_000)}, old)
        assert old.read_bytes() == before
        assert list(tmp_path.iterdir()) == [old]  # nothing half-written beside it
        assert main([*SHORT, "--out", str(tmp_path / "runs")]) == 2
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    last = capsys.readouterr().err.splitlines()[-1]
    assert re.match(r"error: out must be a folder with room for the run, got .*File too large", last)
    assert not [path for path in tmp_path.rglob(".*") if path.is_file()]
    assert main([*SHORT, "--out", str(tmp_path / "runs")]) == 0
