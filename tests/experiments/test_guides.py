"""Every command of README and docs/, run as it stands there on small real data; commands.md has its own test."""

import re
import shlex

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from sklearn.datasets import load_digits
from test_commands import WRITE, factory
from test_docs import PAGES, commands, name_of

from experiments import __main__ as verbs
from experiments.lab.models import build

# later options win over earlier ones: less of everything, and none of what a page is about
LESS = {
    "run": "--batch-size 16 --workers 0 --accelerator cpu --no-track --latency-batches 1 --calibration-images 40",
    "plan": "--calibration-images 40",
    "sweep": "--kernel svd --selector loss --fractions 0.6 --calibration-images 40",
    "search": "--trials 1 --epochs 0 --calibration-images 40 --validation-images 8",
    "tune": "--trials 1 --epochs 1 1 --batch-sizes 64",
    "study": "--fractions 0.5 --repeats 1 --least 9000",
    "deploy": "--runtimes onnxruntime --batches 1",
}
BENCH = {
    "kernels": "--only 'dct of 4096x64' --seconds 0",
    "layers": "--only 'frequency dft, Linear 1024 to 1024, eval' --seconds 0",
    "networks": "--only 'resnet18, svd, onnxruntime' --seconds 0",
    "train": "--seconds 0",
    "planner": "--calibration-images 40 --seeds 1 --plans 0 --held-out 40",
    "int8": "--calibration-images 40 --methods minmax --rounds 2 --batches 1 --image-size 16",
    "served": "--networks squeezenet --ways svd --runtimes onnxruntime --precisions 32 --size 64 --batch 1 --seconds 0",
}
PEERS = {"kernels": "torch_dct", "networks": "tensorly"}  # of the extra [bench]
SHORT = ("bench", "deploy")  # whose exit code 1 is a number that falls short, here by less of everything
ELSEWHERE = {"reproduce", "figures"}  # of the thesis: days of computing, with tests of their own
QUICK = {"list", "compare", "inspect"}  # the others compute for seconds, and together for minutes
GIVEN = [
    pytest.param(verb, words, id=f"{name_of(page)}: {verb} {' '.join(words)}"[:120], marks=[pytest.mark.slow] * slow)
    for page in PAGES
    if page.name != "commands.md"
    for verb, words in commands(page)
    if "--help" not in words and verb not in ELSEWHERE
    for slow in [verb not in QUICK]
]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with images of two classes, and a complete run of lenet on digits that was exported."""
    folder = tmp_path_factory.mktemp("guides")
    raw = load_digits()
    for part, first in (("train", 0), ("test", 120)):
        for number in range(first, first + 80):
            path = folder / "images" / part / str(raw.target[number] % 2) / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            image = Image.fromarray((raw.images[number] * 15.9).astype(np.uint8))
            image.resize((16, 16)).save(path)
            large = folder / "large" / path.relative_to(folder / "images")  # for networks that need so many pixels
            large.parent.mkdir(parents=True, exist_ok=True)
            image.resize((32, 32)).save(large)
    words = f"run --kernel svd --max-epochs 1 --finetune-epochs 0 --export onnx --no-track --out {folder / 'runs'}"
    assert verbs.main(words.split()) == 0
    words = "run --frequency --kernel dct --max-epochs 1 --no-track --out"
    assert verbs.main([*words.split(), str(folder / "frequencies")]) == 0
    return folder


def _weights(model, dataset, path):
    """Write the weights of a network as they begin."""
    classes, channels, side = {"folder": (2, 3, 16), "mnist": (10, 1, 28), "cifar10": (10, 3, 32)}.get(
        dataset, (10, 1, 32)
    )
    torch.manual_seed(0)
    network = factory(classes, channels) if ":" in model else build(model, classes, channels, side)
    save_file(network.state_dict(), path)


def _filled(verb, words, place, tmp_path, monkeypatch):
    """The words with files in the places of DIR, FILE and the like."""
    option = dict(zip(words, [*words[1:], ""]))
    model, dataset = option.get("--model", "lenet"), option.get("--dataset", "folder" if verb == "bench" else "digits")
    (run,), (frequencies,) = (place / "runs").iterdir(), (place / "frequencies").iterdir()
    images = place / ("large" if model == "lenet5" else "images")
    if dataset in ("mnist", "cifar10"):
        images = tmp_path / "data"
        images.mkdir(exist_ok=True)
        WRITE[dataset](images, monkeypatch)
    if "package" in model or model == "FACTORY":
        model = "test_commands:factory"
    if "FILE" in words:
        _weights(model, dataset, tmp_path / "file.safetensors")
    places = {"DIR": images, "FILE": tmp_path / "file.safetensors", "package.module:factory": model, "PAGE": "page.md"}
    places["FACTORY"] = model
    places |= {"RUN": frequencies if "--frequency" in words else run, "FOLDER": run / "svd", "PHOTOS": images}
    places |= {"dense.safetensors": run / "dense.safetensors", "URL": f"sqlite:///{tmp_path / 'study.db'}"}
    places |= {"RUN/dense.safetensors": run / "dense.safetensors", "runs/*": frequencies}
    filled = [str(places.get(word, word)) for word in words]
    if verb == "bench" and "FILE" in words and "--out" in words[: words.index("FILE")][-1:]:
        filled[words.index("FILE")] = "page.md"
    if verb in ("plan", "sweep", "search") and "--checkpoint" not in words:  # named in passing
        filled += ["--checkpoint", str(run / "dense.safetensors")]
    if verb == "compare" and words in ([], ["--frequency"]):
        filled += [str(frequencies if words else run)]
    return [f"sqlite:///{tmp_path / 'study.db'}" if "postgresql" in word else word for word in filled]


def _shortened(verb, words):
    """What is added so that minutes become seconds."""
    less = shlex.split(BENCH.get(words[0], "") if verb == "bench" else LESS.get(verb, ""))
    if verb == "sweep" and "--compress" in words:
        less = ["--calibration-images", "40"]
    if "--alone" in words:
        less += ["--alone", "8"]
    if verb == "run":
        zero = "0" in words[words.index("--max-epochs") + 1 :][:1] if "--max-epochs" in words else False
        less += ["--max-epochs", "0" if zero else "1"]
        tuned = "--frequency" not in words and "--compress" not in words and not zero
        less += ["--finetune-epochs", "1"] * tuned
        if "--frequency" in words or (
            not {"svd", "auto", "--compress"} & {*words} and "--kernel" in words
        ):  # which calibrates and times nothing else
            less = less[: less.index("--calibration-images")] + less[less.index("--calibration-images") + 2 :]
    return less


@pytest.mark.parametrize(("verb", "words"), GIVEN)
def test_a_command_of_the_docs_runs(verb, words, place, tmp_path, monkeypatch, capsys):
    if words[:1] == ["gpu"] and not torch.cuda.is_available():
        pytest.skip("no GPU")
    if {"sync", "fsdp"} & {*words} and not torch.cuda.is_available():
        pytest.skip("statistics of all processes and shards are for GPUs")
    if verb == "bench" and words[0] in PEERS:
        pytest.importorskip(PEERS[words[0]], reason="the extra [bench] is not installed")
    monkeypatch.chdir(tmp_path)
    given = [*_filled(verb, words, place, tmp_path, monkeypatch), *_shortened(verb, words)]
    if verb in ("run", "sweep", "search", "tune", "study", "deploy"):
        given += ["--out", str(tmp_path / "out")]
    if verb in ("compare", "list"):
        given += ["--runs", str(place / "runs")]
    code, said = verbs.main([verb, *given]), capsys.readouterr().err
    far = "latency=" in " ".join(words) and "budget must be within reach" in said  # half the time of so small a network
    assert code == 0 or far or (code == 1 and verb in SHORT), said


def test_commands_are_found():
    assert len(GIVEN) > 50
    assert {re.sub(r":.*", "", str(one.id)) for one in GIVEN} >= {"README.md", "docs/guides/steps.md"}
