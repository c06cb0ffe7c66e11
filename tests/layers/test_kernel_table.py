"""docs/kernels.md holds the tables that the code gives; `python tests/layers/test_kernel_table.py` writes them anew."""

import sys
from pathlib import Path

import torch
from torch import nn

import stage1_scipy
import stage2_numpy
import stage3_torch
from contract import KERNELS
from layers import METHODS

PAGE = Path(__file__).parents[2] / "docs" / "kernels.md"
BEGIN, END = "<!-- tables: begin -->\n", "<!-- tables: end -->\n"
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


def derivation(stage, name):
    """The first sentence of the file in which the stage has the kernel."""
    document = sys.modules[getattr(stage, KERNELS[name].encode).__module__].__doc__
    return document.splitlines()[0].rstrip(".")


def kernels():
    """One row for each kernel of the contract."""
    for name, kernel in KERNELS.items():
        promise = "inverts, keeps energy" if kernel.linear else "projects: exact at full rank"
        decoder = f"{kernel.decode}({', '.join(('code', *kernel.decodes))})"
        yield [
            f"`{name}`",
            promise,
            f"`{decoder}`",
            *(derivation(s, name) for s in (stage1_scipy, stage2_numpy, stage3_torch)),
        ]


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
        saves = ", ".join(field for field in ("params", "bytes", "macs", "latency") if field in method.saves)
        yield [f"`{name}`", method.description, saves, accuracy(method), fitted, *takes]


def tables():
    first = markdown(["kernel", "promise", "decoder", "stage1_scipy", "stage2_numpy", "stage3_torch"], kernels())
    head = ["method", "what a layer becomes", "saves", "exact if all is kept", "images", *LAYERS]
    return f"{first}\n{markdown(head, methods())}"


def test_the_page_is_what_the_code_gives():
    text = PAGE.read_text(encoding="utf-8")
    assert text[text.index(BEGIN) + len(BEGIN) : text.index(END)] == tables()


if __name__ == "__main__":
    text = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(text[: text.index(BEGIN)] + BEGIN + tables() + text[text.index(END) :], encoding="utf-8")
