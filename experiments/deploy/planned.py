"""What each plan promised, beside what the files of its network cost and answer."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from layers import Plan
from layers.costs import file_cost, file_macs

from ..lab.progress import log
from ..lab.reporting.tables import Table
from ..lab.steps.kernel import predicted
from .cells import FLOAT, QUANTISED, cell_of
from .promises import Time

OVER = 0.01  # of the MACs promised, by which a file may have more
Row = Mapping[str, Any]


def file_shares(plans: Mapping[str, Plan], folders: Mapping[str, Path]) -> dict[str, float]:
    """Return network -> multiply-accumulates of its ONNX file, of the dense network's, for those that have a file.

    One with an operator whose shape the file does not tell is left out, and said.
    """
    shares = {}
    for name, plan in plans.items():
        exact, quantised = (folders[name] / file for file in (FLOAT, QUANTISED))
        if exact.is_file():
            try:
                shares[name] = file_macs(exact) / plan.before.macs
            except ValueError as error:
                log(f"{name}: MACs of {exact} are not counted: {error}")
        elif quantised.is_file():
            shares[name] = file_cost(quantised).macs / plan.before.macs
    return shares


def larger(plans: Mapping[str, Plan], shares: Mapping[str, float]) -> list[str]:
    """Return a sentence for each network whose file computes more than its plan promised."""
    sentences = []
    for name, share in shares.items():
        planned = plans[name].after.macs / plans[name].before.macs
        if share > (1 + OVER) * planned:
            sentences.append(f"{name}: {share:.3f} of dense's MACs in the file, where its plan promised {planned:.3f}")
    return sentences


def table(
    plans: Mapping[str, Plan],
    shares: Mapping[str, float],
    rows: Iterable[Row],
    promised: Mapping[str, float],
    times: Mapping[str, Time],
) -> Table:
    """Return the table: MACs, loss, top-1 and time of each network that has a plan, over all cells.

    Args:
        plans: network -> its plan.
        shares: what `file_shares` counted.
        rows: what was measured in each cell.
        promised: network -> the top-1 that the run measured.
        times: network -> what its budget of latency promises.
    """
    rows = list(rows)
    dense, cells = {cell_of(row): row for row in rows if row["network"] == "dense"}, []
    for name, plan in plans.items():
        own = [row for row in rows if row["network"] == name]
        if not own:  # of 8 bits alone, where no runtime for these was asked for
            continue
        lines = [("top-1, %", f"{promised[name]:.2f}", _range([row["top1"] for row in own], ".2f"))]
        if name in shares:
            lines.append(("MACs of dense", f"{plan.after.macs / plan.before.macs:.3f}", f"{shares[name]:.3f}"))
        if (rise := predicted(plan)) is not None:
            rises = [row["loss"] - dense[cell_of(row)]["loss"] for row in own]
            lines.append(("rise of the loss (plan: before a refit)", f"{rise:+.4f}", _range(rises, "+.4f")))
        if (time := times.get(name)) is not None:
            there = [row for row in own if cell_of(row) == time.cell]
            lines += [(_words(time), f"{time.share:.2f}", _ratio(row, dense[cell_of(row)], time)) for row in there]
        cells += [[name, *line] for line in lines]
    return Table(["network", "of what", "promised", "in the files"], cells, 2)


def _range(values: list[float], form: str) -> str:
    low, high = (format(end(values), form) for end in (min, max))
    return low if low == high else f"{low} to {high}"


def _words(time: Time) -> str:
    return f"time of dense, {time.cell}, {time.batch} at once"


def _ratio(row: Row, dense: Row, time: Time) -> str:
    key = f"latency_{time.batch}"
    if key not in row:
        return "not measured"
    return "busy" if row[f"{key}_noisy"] or dense[f"{key}_noisy"] else f"{row[key] / dense[key]:.2f}"
