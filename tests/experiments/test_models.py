"""Every network: its published number of parameters, a forward and a backward pass, and where its weights come from."""

import hashlib
import re
import sys
from functools import partial
from types import SimpleNamespace

import pytest
import torch
import torchvision
from torch import nn
from torchvision.models import Weights, WeightsEnum
from torchvision.transforms._presets import ImageClassification

from experiments.lab.models import MODELS, build, weights
from experiments.lab.models.cifar_resnet import resnet20
from experiments.lab.models.weights import load_checkpoint, load_pretrained

TORCHVISION = ("alexnet", "vgg16", "resnet18", "resnet34", "resnet50", "densenet121", "mobilenet_v3_small")
SMALL = {  # for ten classes of 32 x 32 colour images
    "lenet": 62_006,  # LeCun et al. 1998, with three image channels
    "lenet5": 62_006,  # the same, its third layer written as a convolution
    "convnet": 57_130,  # three convolutions, 864 + 18,432 + 36,864, their BatchNorms, 320, and a Linear layer, 650
    "alexnet": 23_272_266,
    "vgg16": 14_728_266,  # kuangliu/pytorch-cifar, as are the ResNets and the DenseNet
    "resnet18": 11_173_962,
    "resnet34": 21_282_122,
    "resnet50": 23_520_842,
    "densenet121": 6_956_298,
    "mobilenet_v3_small": 1_528_106,  # torchvision's with ten classes: the stem's stride has no parameters
    "resnet20": 269_722,  # 0.27, 0.46, 0.66, 0.85 and 1.7 M: He et al. 2015, table 6
    "resnet32": 464_154,
    "resnet44": 658_586,
    "resnet56": 853_018,
    "resnet110": 1_727_962,
}


def parameters(model):
    return sum(p.numel() for p in model.parameters())


def step(model, x):
    """Gradients of one training step."""
    logits = model(x)
    nn.functional.cross_entropy(logits, torch.arange(len(x))).backward()
    return logits, [p.grad for p in model.parameters()]


def test_every_model_is_in_the_tables():
    assert set(SMALL) == set(MODELS)


@pytest.mark.parametrize("name", MODELS)
def test_small_images(name):
    torch.manual_seed(0)
    model = build(name, classes=10, channels=3, size=32)
    assert parameters(model) == SMALL[name]
    logits, gradients = step(model, torch.randn(2, 3, 32, 32))
    assert logits.shape == (2, 10)
    assert all(g is not None and g.isfinite().all() for g in gradients)
    assert any(g.any() for g in gradients)


@pytest.mark.parametrize("name", MODELS)
def test_grey_images(name):
    with torch.device("meta"):
        assert build(name, classes=7, channels=1, size=32)(torch.empty(2, 1, 32, 32)).shape == (2, 7)


@pytest.mark.parametrize("name", TORCHVISION)
def test_large_images_are_for_torchvisions_own_network(name):
    with torch.device("meta"):
        model = build(name, classes=1000, channels=3, size=224)
        assert build(name, classes=5, channels=4, size=224)(torch.empty(2, 4, 224, 224)).shape == (2, 5)
    assert parameters(model) == torchvision.models.get_model_weights(name).DEFAULT.meta["num_params"]
    with torch.device("meta"):
        assert list(model.state_dict()) == list(torchvision.models.get_model(name).state_dict())


@pytest.mark.parametrize("name", [*TORCHVISION[2:4], *TORCHVISION[5:]])
def test_a_step_at_224_pixels(name):
    logits, gradients = step(build(name, classes=3, channels=3, size=224), torch.randn(2, 3, 224, 224))
    assert logits.shape == (2, 3)
    assert all(g.isfinite().all() for g in gradients)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["alexnet", "vgg16", "resnet50"])
def test_a_step_of_the_heavy_ones_at_224_pixels(name):
    logits, gradients = step(build(name, classes=3, channels=3, size=224), torch.randn(2, 3, 224, 224))
    assert logits.shape == (2, 3)
    assert all(g.isfinite().all() for g in gradients)


def test_which_variant_is_built_is_said(caplog):
    caplog.set_level("INFO", "experiments")
    with torch.device("meta"):
        build("resnet18", 10, 3, 32)
        build("resnet18", 10, 3, 224)
    assert [record.getMessage() for record in caplog.records] == [
        "resnet18 for images of 32 pixels: 3 x 3 stem of stride 1, no max-pooling",
        "resnet18 for images of 224 pixels: as in torchvision",
    ]


def test_small_variants_keep_the_resolution():
    """Stages of ResNet-18 see 32, 16, 8 and 4 pixels a side, not 8, 4, 2 and 1."""
    sides = []
    with torch.device("meta"):
        model = build("resnet18", 10, 3, 32)
        for stage in (model.layer1, model.layer2, model.layer3, model.layer4):
            stage.register_forward_hook(lambda _, __, y: sides.append(y.shape[-1]))
        model(torch.empty(1, 3, 32, 32))
    assert sides == [32, 16, 8, 4]


def test_liu_and_torchvision_are_the_same_resnet18():
    """An independent spelling: kuangliu/pytorch-cifar's network, layer by layer, on the weights of ours."""
    torch.manual_seed(0)
    model, x = build("resnet18", 10, 3, 32).eval(), torch.randn(2, 3, 32, 32)
    state, relu = model.state_dict(), torch.relu

    def conv(y, name, stride=1):
        weight = state[f"{name}.weight"]
        return nn.functional.conv2d(y, weight, stride=stride, padding=weight.shape[-1] // 2)

    def norm(y, name):
        return nn.functional.batch_norm(
            y, *(state[f"{name}.{key}"] for key in ("running_mean", "running_var", "weight", "bias"))
        )

    y = relu(norm(conv(x, "conv1"), "bn1"))
    for stage in (1, 2, 3, 4):
        for block in (0, 1):
            at, stride = f"layer{stage}.{block}", 2 if stage > 1 and block == 0 else 1
            z = norm(conv(relu(norm(conv(y, f"{at}.conv1", stride), f"{at}.bn1")), f"{at}.conv2"), f"{at}.bn2")
            same = norm(conv(y, f"{at}.downsample.0", stride), f"{at}.downsample.1") if stride == 2 else y
            y = relu(z + same)
    torch.testing.assert_close(
        nn.functional.avg_pool2d(y, 4).flatten(1) @ state["fc.weight"].T + state["fc.bias"], model(x)
    )


def test_torchvisions_own_names_are_factories():
    with torch.device("meta"):
        assert build("torchvision.models:squeezenet1_1", 7, 3)(torch.empty(1, 3, 32, 32)).shape == (1, 7)


FACTORIES = {  # a module of the user's: what is said of it
    "def make(classes, channels): return 3": "what theirs:make returns must be a torch.nn.Module, got 'int'",
    "make = 3": "model must be package.module:factory of something that can be called, got 'theirs:make'",
    "def make(): pass": "model must be a factory that takes classes= and channels=, or num_classes=, got 'theirs:make'",
    "x = 1\nprint(y)": r"imported, got 'theirs:make' \(NameError: name 'y' is not defined at .*theirs.py:2\)$",
    "x = (": r"imported, got 'theirs:make' \(SyntaxError: .* at .*theirs.py:1\)$",
    "import torch\ntorch.ones(2) @ torch.ones(3)": r"\(RuntimeError: .* at .*theirs.py:2\)$",
    "import sys\nsys.exit(3)": r"\(SystemExit: 3 at .*theirs.py:2\)$",
    "import nowhere_to_be_found": r"\(ModuleNotFoundError: No module named 'nowhere_to_be_found' at .*theirs.py:1\)$",
    "other = 1": r"\(AttributeError: module 'theirs' has no attribute 'make'\)$",
    "def make(classes, channels):\n    raise KeyError('[red]')": r"classes=2, .* \(KeyError: '\[red\]' at .*:2\)$",
    "def make(**kwargs):\n    return dict()[kwargs['size']]": r"\(KeyError: 'size' at .*theirs.py:2\)$",
}


@pytest.mark.parametrize("source", FACTORIES)
def test_factories_that_cannot_be_used_are_named_with_their_line(source, tmp_path, monkeypatch):
    (tmp_path / "theirs.py").write_text(source + "\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "theirs", raising=False)
    with pytest.raises(ValueError, match=FACTORIES[source]) as refusal:
        build("theirs:make", 2, 3)
    assert "\n" not in str(refusal.value)


def test_a_module_that_is_missing_is_not_looked_for_in_any_line():
    with pytest.raises(ValueError, match=r"\(ModuleNotFoundError: No module named 'nowhere'\)$"):
        build("nowhere:make", 2, 3)


@pytest.mark.parametrize("channels", ["channels", "in_chans", "in_channels"])
def test_other_names_of_the_same_numbers_are_understood(channels, tmp_path, monkeypatch):
    body = f"import torch\ndef make(num_classes, {channels}): return torch.nn.Linear({channels}, num_classes)\n"
    (tmp_path / "theirs.py").write_text(body)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "theirs", raising=False)
    assert build("theirs:make", 5, 4).weight.shape == (5, 4)


@pytest.fixture
def published(tmp_path, monkeypatch):
    """torchvision's ResNet-18 weights, stood in for by random ones that are 'published' under their SHA-256."""
    torch.manual_seed(1)
    model = torchvision.models.resnet18()
    torch.save(model.state_dict(), tmp_path / "any.pth")
    digest = hashlib.sha256((tmp_path / "any.pth").read_bytes()).hexdigest()[:8]

    class Enum(WeightsEnum):
        IMAGENET1K_V1 = Weights(
            "http://localhost:9/models/resnet18-old.pth", partial(ImageClassification, crop_size=224), {}
        )
        DEFAULT = Weights(
            f"http://localhost:9/models/resnet18-{digest}.pth", partial(ImageClassification, crop_size=200), {}
        )

    monkeypatch.setattr(weights, "get_model_weights", lambda name: Enum)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))
    return SimpleNamespace(model=model, file=tmp_path / "any.pth", name=f"resnet18-{digest}.pth")


def test_pretrained_from_a_file_and_from_the_cache(published, tmp_path):
    model = build("resnet18", 1000, 3, 224)
    assert load_pretrained(model, "resnet18", 224, published.file)
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), published.model.state_dict().values()))
    cached = tmp_path / "cache" / "hub" / "checkpoints" / published.name
    cached.parent.mkdir(parents=True)
    cached.write_bytes(published.file.read_bytes())
    small = build("resnet18", 10, 3, 224)
    head = small.fc.weight.clone()
    assert not load_pretrained(small, "resnet18", 224)  # ten classes: the last layer is to be trained
    assert torch.equal(small.fc.weight, head)
    assert torch.equal(small.conv1.weight, published.model.conv1.weight)


def test_pretrained_refusals(published, tmp_path):
    model = build("resnet18", 1000, 3, 224)
    where = re.escape(str(tmp_path / "cache" / "hub" / "checkpoints" / published.name))
    with pytest.raises(ValueError, match=rf"^pretrained weights of resnet18 must .* put the file at {where}"):
        load_pretrained(model, "resnet18", 224)
    published.file.write_bytes(published.file.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"^checkpoint must be a whole .pth file of tensors alone, got .*any.pth"):
        load_pretrained(model, "resnet18", 224, published.file)
    cached = tmp_path / "cache" / "hub" / "checkpoints" / published.name
    cached.parent.mkdir(parents=True, exist_ok=True)
    cached.write_bytes(published.file.read_bytes())
    with pytest.raises(
        ValueError, match=rf"^pretrained weights of resnet18 must be a whole file: delete it, .*{where}"
    ):
        load_pretrained(model, "resnet18", 224)
    torch.save(torchvision.models.alexnet().state_dict(), published.file)
    with pytest.raises(
        ValueError,
        match=r"any.pth must hold the tensors of ResNet, got: conv1.weight is missing",
    ):
        load_pretrained(model, "resnet18", 224, published.file)
    with pytest.raises(ValueError, match=r"^checkpoint must be a file that exists, got '.*gone.pth'"):
        load_pretrained(model, "resnet18", 224, tmp_path / "gone.pth")
    with pytest.raises(ValueError, match=r"must be larger than 64: pass --image-size 224, got '32 pixels'"):
        load_pretrained(model, "resnet18", 32)
    with pytest.raises(ValueError, match=r"pretrained model must be one of alexnet, .*, got 'resnet20'"):
        load_pretrained(resnet20(), "resnet20", 224)
    with pytest.raises(ValueError, match="channels for pretrained weights must be 3, got 1"):
        load_pretrained(build("resnet18", 10, 1, 224), "resnet18", 224)


def test_old_densenet_names_are_read(tmp_path):
    state = torchvision.models.densenet121().state_dict()
    old = {re.sub(r"(denselayer\d+\.(?:norm|conv))(\d\.)", r"\1.\2", name): tensor for name, tensor in state.items()}
    assert old.keys() != state.keys()
    torch.save({name: tensor for name, tensor in old.items() if "num_batches" not in name}, tmp_path / "a.pth")
    model = build("densenet121", 1000, 3, 224)
    load_checkpoint(model, tmp_path / "a.pth")
    name = "features.denseblock1.denselayer1.conv2.weight"
    assert torch.equal(model.state_dict()[name], state[name])
