"""`python -m experiments.figures [NAME...]`: draw the figures of the thesis, from thesis/results/ alone."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from ..lab.command import door

Names = Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="[NAME ...]")]
Endings = Annotated[tuple[Literal["svg", "pdf", "png"], ...], tyro.conf.arg(metavar="ENDING [ENDING ...]")]


@dataclass(frozen=True)
class Figures:
    """Draw figures of thesis/figures.toml; without names all that have their records, and say which have none."""

    names: Names = ()
    """figures, or experiments all of whose figures are drawn"""
    out: Path = Path("thesis/figures")
    """folder for the files, NAME.svg and so on"""
    endings: Endings = ("svg", "pdf", "png")
    """kinds of files"""


def act(options: Figures) -> None:
    """Draw what there are records for; refuse a figure that was asked for by name and has none."""
    from ..lab.reporting.canvas import save
    from .draw import all_figures, draw, folder_of
    from .manifest import chosen, figures

    known, left = figures(), dict[str, str]()
    if options.names:
        made = {figure.name: draw(figure) for figure in chosen(options.names, known)}
    else:
        made, left = all_figures(known.values())
    folder = folder_of(options.out)  # all are drawn before anything is written
    for name, figure in made.items():
        save(figure, folder / name, options.endings)
        sys.stdout.write(f"{folder / name}: {', '.join(options.endings)}\n")
    sys.stdout.writelines(f"skipped {name}: {why}\n" for name, why in left.items())


main = door("figures", Figures, act)

if __name__ == "__main__":
    sys.exit(main())
