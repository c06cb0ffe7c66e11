"""docs/kernels.md holds the tables that the code gives; `python tests/layers/test_kernel_table.py` writes them anew."""

import re
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import stage1_scipy
import stage2_numpy
import stage3_torch
from contract import KERNELS
from layers import METHODS

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))  # as a script, without pytest's path
from cases import CASES

PAGE = Path(__file__).parents[2] / "docs" / "kernels.md"
SPEED = PAGE.parent / "results" / "speed-kernels.md"
BEGIN, END = "<!-- tables: begin -->\n", "<!-- tables: end -->\n"
SAVED = ("params", "bytes", "macs", "latency")
INVERTS = "everything: it inverts, and keeps energy"
EXACT = {  # what the code of a kernel loses nothing of
    "dct": INVERTS,
    "dst": INVERTS,
    "dft": INVERTS,
    "dht": INVERTS,
    "dwt": INVERTS,
    "shannon": INVERTS,
    "svd": "matrices of at most the rank",
    "ht": "tensors whose unfolding at each node of the tree has at most its rank",
    "tucker": "tensors whose unfolding along each mode has at most its rank",
    "cp": "one term, or as many terms as prod(shape) / max(shape); between them ALS ends in an optimum that is local",
}
USES = {name: [name] if name in METHODS else [] for name in KERNELS} | {  # which methods of layers rest on a kernel
    "svd": ["svd", "spatial"],
    "cp": ["cp", "cp4"],
}
LAYERS = {
    "k x k": nn.Conv2d(8, 8, 3),
    "1 x 1": nn.Conv2d(8, 8, 1),
    "grouped": nn.Conv2d(8, 8, 3, groups=2),
    "depthwise": nn.Conv2d(8, 8, 3, groups=8),
    "transposed": nn.ConvTranspose2d(8, 8, 3),
    "Linear": nn.Linear(12, 8),
}


def markdown(head, rows):
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def derivation(stage, names):
    """The first sentence of the file in which the stage has these kernels."""
    documents = {sys.modules[getattr(stage, KERNELS[name].encode).__module__].__doc__ for name in names}
    assert len(documents) == 1, names
    return documents.pop().splitlines()[0].rstrip(".")


def saves(methods):
    """What at least one of these ways to compress a layer can make less."""
    fields = [field for field in SAVED if any(field in METHODS[name].saves for name in methods)]
    return ", ".join(fields) or "none: in frequency layers only"


def wants(name):
    """What the kernel's arguments must be, in the words in which it refuses others; `axis` is the same for all."""
    for argument, (x, spec) in CASES[name].bad.items():
        if argument == "axis":
            continue
        with pytest.raises(ValueError, match="must be") as refused:
            getattr(stage3_torch, KERNELS[name].encode)(torch.as_tensor(x), **spec)
        _, allowed = str(refused.value).partition(", got ")[0].split(" must be ", 1)
        yield f"`{argument}` {allowed}"


def time(name):
    """Milliseconds, and how many times a peer's those are, of the first row about the kernel that was measured."""
    for line in SPEED.read_text(encoding="utf-8").splitlines():
        work, peer, ours, _, ratio, *_ = [*(cell.strip() for cell in line.strip("|").split("|")), *[""] * 5]
        if re.match(rf"{name}\b", work, re.IGNORECASE):
            return f"{work}: {float(ours):.3g} ms, {float(ratio.strip('*')):.1f} x as fast as {peer}"
    return "not measured by itself"


def kernels():
    """One row for each kernel of the contract."""
    for name, kernel in KERNELS.items():
        decoder = f"{kernel.decode}({', '.join(('code', *kernel.decodes))})"
        refuses = "; ".join(wants(name)) or "any floats"
        yield [f"`{name}`", f"`{decoder}`", EXACT[name], saves(USES[name]), refuses, time(name)]


def derivations():
    """One row for each file of kernels, of which every stage has one of its name."""
    files = {}
    for name, kernel in KERNELS.items():
        files.setdefault(getattr(stage1_scipy, kernel.encode).__module__, []).append(name)
    for names in files.values():
        stages = (derivation(stage, names) for stage in (stage1_scipy, stage2_numpy, stage3_torch))
        yield [", ".join(f"`{name}`" for name in names), *stages]


def accuracy(method):
    """How far a layer that keeps the most that the method offers is from the dense one."""
    layer, x = LAYERS["k x k"], torch.randn(1, 8, 6, 6, generator=torch.Generator().manual_seed(0))
    if method.refusal(layer):
        layer, x = LAYERS["Linear"], torch.randn(4, 12, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        same = torch.allclose(method.build(layer, method.candidates(layer)[-1].spec)(x), layer(x), atol=1e-4)
    return "yes" if same else "no"


def methods():
    """One row for each way to compress a layer."""
    for name, method in METHODS.items():
        takes = ["no" if method.refusal(layer) else "yes" for layer in LAYERS.values()]
        fitted = "for `loss` and refit" if method.scheme else "no"
        yield [f"`{name}`", method.description, saves([name]), accuracy(method), fitted, *takes]


def tables():
    first = markdown(["kernel", "decoder", "exact on", "saves", "takes only", "time"], kernels())
    second = markdown(["kernels", "stage1_scipy", "stage2_numpy", "stage3_torch"], derivations())
    head = ["method", "what a layer becomes", "saves", "exact if all is kept", "images", *LAYERS]
    return f"{first}\n{second}\n{markdown(head, methods())}"


def test_the_page_is_what_the_code_gives():
    text = PAGE.read_text(encoding="utf-8")
    assert text[text.index(BEGIN) + len(BEGIN) : text.index(END)] == tables()


if __name__ == "__main__":
    text = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(text[: text.index(BEGIN)] + BEGIN + tables() + text[text.index(END) :], encoding="utf-8")
