"""The points of a sweep as a table: a row for each kernel and selector, a column for each budget."""

import pandas as pd

from layers import Budget

from ..lab.reporting.tables import Table


def table(points: pd.DataFrame) -> Table:
    """Return top-1 by kernel and selector at each budget; nothing where a budget is out of a kernel's reach."""
    made = points[points.budget.fillna("") != ""]
    fractions = sorted({Budget.parse(budget).fraction for budget in made.budget})
    rows = []
    for (kernel, selector), curve in made.groupby(["kernel", "selector"], sort=False):
        known = {Budget.parse(budget).fraction: f"{top1:.2f}" for budget, top1 in zip(curve.budget, curve.top1)}
        rows.append([kernel, selector, *(known.get(fraction, "") for fraction in fractions)])
    return Table(["kernel", "ranks by", *(f"{fraction:.0%}" for fraction in fractions)], rows, 2)
