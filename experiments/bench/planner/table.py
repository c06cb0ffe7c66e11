"""The table of `bench planner` on the terminal, as Markdown and as CSV."""

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import torch
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from layers.network import write_text

from ...lab.reporting.peers import peers
from .random_plans import Compared
from .trials import ASKED, ASKED_SECONDS, FRACTIONS, Trial

SPEARMAN = 0.9


class Line(NamedTuple):
    """What was measured, what was asked, and whether it is reached; None where nothing is asked."""

    what: str
    measured: str
    asked: str
    reached: bool | None
    beside: str = ""


def lines(
    model: str,
    classes: list[str],
    dense: float,
    found: Sequence[Trial],
    foreign: Sequence[Trial],
    ranked: Compared | None,
) -> list[Line]:
    """A row for the dense network, two or three for each budget, the times, and the correlation."""
    beside = peers(model, classes, "macs")
    rows = [Line("dense", f"{dense:.2f}", "", None)]
    for fraction in FRACTIONS:
        some = [trial for trial in found if trial.fraction == fraction]
        others = ", ".join(f"{p.name} {p.top1[fraction]:g}" for p in beside if p.measured and fraction in p.top1)
        asked = ASKED.get(model, {}).get(fraction) if beside or model == "resnet56" else None
        kept = statistics.fmean(trial.kept for trial in some)
        top1 = [trial.refitted.top1 for trial in some]
        reached = None if asked is None else statistics.fmean(top1) >= asked
        what = f"macs={fraction:g} ({kept:.1%} kept)"
        rows.append(Line(what, _spread(top1), "" if asked is None else f"{asked:g}", reached, others))
        rows.append(Line(f"{what}, no refit", _spread([trial.plain.top1 for trial in some]), "", None))
        strange = [trial.refitted.top1 for trial in foreign if trial.fraction == fraction]
        rows += [Line(f"{what}, foreign images", _spread(strange), "", None)] if strange else []
    limit = ASKED_SECONDS.get(model)
    slowest = max(found, key=lambda trial: trial.seconds)
    parts = f"{slowest.calibrate:.0f} + {slowest.plan:.0f} + {slowest.compress:.0f} + {slowest.refit:.0f}"
    what, asked_time = f"s to calibrate, plan, compress, refit ({parts})", f"<= {limit:g}" if limit else ""
    rows.append(Line(what, f"{slowest.seconds:.0f}", asked_time, slowest.seconds <= limit if limit else None))
    if ranked is not None:
        what = f"Spearman of predicted and measured rise, {len(ranked.measured)} random plans"
        rows.append(Line(what, f"{ranked.spearman:.3f}", f"{SPEARMAN:g}", ranked.spearman >= SPEARMAN))
    return rows


def _spread(values: Sequence[float]) -> str:
    deviation = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.2f}{deviation}"


def show(rows: Sequence[Line], caption: str, out: Path | None, found: Sequence[Trial]) -> bool:
    """Print the table, write it if asked to (*.md as Markdown, else every trial as CSV); whether all is reached."""
    header = ("top-1 on the test set, no gradient step", "measured", "asked", "others")
    table = Table(box=SIMPLE_HEAD, caption=f"{caption}; torch {torch.__version__}, {torch.get_num_threads()} threads")
    for name in header:
        table.add_column(name, justify="left" if name in (header[0], "others") else "right")
    for row in rows:
        table.add_row(row.what, row.measured, row.asked, row.beside, style="bold red" if row.reached is False else None)
    Console().print(table)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_text(out, _markdown(header, rows, str(table.caption)) if out.suffix == ".md" else _csv(found))
    return all(row.reached is not False for row in rows)


def _markdown(header: Sequence[str], rows: Sequence[Line], caption: str) -> str:
    """A number that falls short of what is asked is bold."""
    cells = [header, ("---", "---:", "---:", "---")]
    cells += [
        (row.what, f"**{row.measured}**" if row.reached is False else row.measured, row.asked, row.beside)
        for row in rows
    ]
    return "".join(f"| {' | '.join(line)} |\n" for line in cells) + f"\n{caption}.\n"


def _csv(found: Sequence[Trial]) -> str:
    table = []
    for trial in found:
        row = trial._asdict() | {"seconds": trial.seconds}
        for name in ("plain", "refitted"):
            row |= {f"{key}_{name}": value for key, value in row.pop(name)._asdict().items()}
        table.append(row)
    return pd.DataFrame(table).to_csv(index=False)
