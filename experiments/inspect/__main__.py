"""`python -m experiments.inspect CHECKPOINT|RUN`: what compression did to the weights, as one page."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from checks import require

from ..lab.command import check_file, door

Subject = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="CHECKPOINT|RUN")]


@dataclass(frozen=True)
class Inspect:
    """Write a page of filters, spectra, singular values, norms and trees; the model's code is not needed.

    Beside each model.onnx of a run (run --export onnx), files for Model Explorer colour the graph by what became of
    each layer.
    """

    subject: Subject
    """a run folder, a folder that layers.save wrote, or a file of weights (.safetensors)"""
    dense: Path | None = None
    """the dense weights of a folder that layers.save wrote (unset: dense.safetensors of the folder around it)"""
    layers: int = 6
    """how many layers of each network get figures: those that lost most; all are in its table"""
    out: Path | None = None
    """the page (unset: inspect.html in the folder, or beside the file)"""


def act(options: Inspect) -> None:
    """Read, write the page and the overlays, and say where they are."""
    require(options.layers >= 1, "layers", options.layers, "at least 1")
    subject = options.subject
    folder = subject if subject.is_dir() else subject.parent
    out = options.out or folder / ("inspect.html" if subject.is_dir() else f"{subject.stem}.inspect.html")
    require(out.suffix == ".html", "out", str(out), "a file that ends in .html")
    check_file(out)
    from layers.network import write_text

    from ..lab.reporting.page import render
    from . import overlay, page, source

    seen = source.read(subject, options.dense)
    written = [path for network in seen.networks for path in overlay.write(network)]
    write_text(out, render(page.page(seen, options.layers, written)))
    for path in (out, *written):
        sys.stdout.write(f"{'page' if path == out else 'overlay'}: {path}\n")


main = door("inspect", Inspect, act)

if __name__ == "__main__":
    sys.exit(main())
