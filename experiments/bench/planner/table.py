"""The table of `bench planner` on the terminal, as Markdown and as CSV."""

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from rich.console import Console
from rich.text import Text

from layers.network import write_text

from ...lab.reporting.peers import peers
from ...lab.reporting.tables import Table, markdown, print_table
from .random_plans import Ranking
from .trials import ASKED, ASKED_SECONDS, FRACTIONS, Trial

SPEARMAN = 0.9


class Line(NamedTuple):
    """A row: what was measured and what was asked, and whether it is reached; None where nothing is asked."""

    measure: str
    measured: str
    asked: str
    reached: bool | None
    others: str = ""


def lines(
    model: str,
    classes: list[str],
    dense: float,
    trials: Sequence[Trial],
    foreign: Sequence[Trial],
    ranking: Ranking | None,
) -> list[Line]:
    """Return a row for the dense network, two or three a budget, one for the times and one for the correlation."""
    rows = [Line("dense", f"{dense:.2f}", "", None)]
    for fraction in FRACTIONS:
        rows += _budget(model, classes, fraction, _at(trials, fraction), _at(foreign, fraction))
    rows.append(_time(model, max(trials, key=lambda trial: trial.seconds)))
    if ranking is not None:
        name = f"Spearman of predicted and measured rise, {len(ranking.measured)} random plans"
        rows.append(Line(name, f"{ranking.spearman:.3f}", f"{SPEARMAN:g}", ranking.spearman >= SPEARMAN))
    return rows


def _at(trials: Sequence[Trial], fraction: float) -> list[Trial]:
    return [trial for trial in trials if trial.fraction == fraction]


def _budget(
    model: str, classes: list[str], fraction: float, trials: Sequence[Trial], foreign: Sequence[Trial]
) -> list[Line]:
    beside = peers(model, classes, "macs")
    others = ", ".join(f"{p.name} {p.top1[fraction]:g}" for p in beside if p.measured and fraction in p.top1)
    asked = ASKED.get(model, {}).get(fraction) if beside or model == "resnet56" else None
    top1 = [trial.refitted.top1 for trial in trials]
    reached = None if asked is None else statistics.fmean(top1) >= asked
    name = f"macs={fraction:g} ({statistics.fmean(trial.kept for trial in trials):.1%} kept)"
    rows = [
        Line(name, _spread(top1), "" if asked is None else f"{asked:g}", reached, others),
        Line(f"{name}, no refit", _spread([trial.plain.top1 for trial in trials]), "", None),
    ]
    if foreign:
        rows.append(Line(f"{name}, foreign images", _spread([trial.refitted.top1 for trial in foreign]), "", None))
    return rows


def _time(model: str, slowest: Trial) -> Line:
    limit = ASKED_SECONDS.get(model)
    parts = f"{slowest.calibrate:.0f} + {slowest.plan:.0f} + {slowest.compress:.0f} + {slowest.refit:.0f}"
    asked, reached = (f"<= {limit:g}", slowest.seconds <= limit) if limit else ("", None)
    return Line(f"s to calibrate, plan, compress, refit ({parts})", f"{slowest.seconds:.0f}", asked, reached)


def _spread(values: Sequence[float]) -> str:
    deviation = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.2f}{deviation}"


def show(rows: Sequence[Line], conditions: str, out: Path | None, trials: Sequence[Trial]) -> bool:
    """Print the table, write it if asked to (*.md as Markdown, else every trial as CSV); whether all is reached."""
    header = ("top-1 on the test set, no gradient step", "others", "measured", "asked")
    short = frozenset(number for number, row in enumerate(rows) if row.reached is False)
    table = Table(header, [(row.measure, row.others, row.measured, row.asked) for row in rows], 2, short)
    print_table(table, Console())
    Console().print(Text(conditions, style="italic"))
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_text(out, f"{markdown(_bold(table))}\n{conditions}\n" if out.suffix == ".md" else _csv(trials))
    return not short


def _bold(table: Table) -> Table:
    """Return the table in which a number that falls short of what is asked is bold."""
    rows = [list(row) for row in table.rows]
    for number in table.short:
        rows[number][2] = f"**{rows[number][2]}**"
    return table._replace(rows=rows)


def _csv(trials: Sequence[Trial]) -> str:
    table = []
    for trial in trials:
        row = trial._asdict() | {"seconds": trial.seconds}
        for name in ("plain", "refitted"):
            row |= {f"{key}_{name}": value for key, value in row.pop(name)._asdict().items()}
        table.append(row)
    return pd.DataFrame(table).to_csv(index=False)
