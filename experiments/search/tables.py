"""Tables of a search: every trial, the Pareto front, the best configurations."""

import numpy as np
import pandas as pd
from optuna.study import Study
from optuna.trial import TrialState

from layers.costs import Cost

WITHIN = 2.0  # points of accuracy below the dense network that a good configuration may lose
CUT = 0.3  # of the parameters that a good configuration saves at least
KEPT = [f"{field}_kept" for field in Cost._fields]


def trials(studies: dict[str, Study], before: Cost) -> pd.DataFrame:
    """Return a row a finished trial: budget, number, state, losses, costs, fractions kept, whether none beats it."""
    rows = []
    for budget, study in studies.items():
        for t in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED)):
            seconds = None if t.duration is None else t.duration.total_seconds()
            loss = t.value if t.state == TrialState.COMPLETE else None  # else what it last reported, of another unit
            values = {"val_loss": loss, "val_top1": t.user_attrs.get("val_top1"), "seconds": seconds}
            costs = {name: t.user_attrs[name] for name in Cost._fields}
            kept = {f"{name}_kept": costs[name] / getattr(before, name) for name in costs}
            first = {"budget": budget, "trial": t.number, "state": t.state.name.lower(), "plan": t.user_attrs["plan"]}
            rows.append(first | values | costs | kept | {f"policy {name}": c for name, c in t.params.items()})
    table = pd.DataFrame(rows)
    table.insert(4, "front", False)
    first = (table.state == "complete") & ~table.duplicated(["state", "plan"])  # a plan has one place in the front
    # to a thousandth of the dense network: what a budget leaves over is no merit
    points = np.column_stack([table.macs_kept.round(3), table.params_kept.round(3), -table.val_top1.astype(float)])
    table.loc[first, "front"] = undominated(points[first])
    return table


def undominated(points: np.ndarray) -> np.ndarray:
    """Tell of n points (n, d) whether no other is at most as large in every coordinate and smaller in one."""
    no_larger = (points[:, None] <= points[None]).all(2)
    smaller = (points[:, None] < points[None]).any(2)
    return ~np.asarray((no_larger & smaller).any(0))


def front(table: pd.DataFrame) -> pd.DataFrame:
    """Return what no trial beats in MACs, parameters and validation accuracy at once; cheapest first."""
    columns = ["budget", "trial", "macs_kept", "params_kept", "bytes_kept", "val_top1", "val_loss"]
    return table[table.front].sort_values(["macs", "params"])[columns]


def best(table: pd.DataFrame, dense: float) -> pd.DataFrame:
    """Return the best configurations by validation images, `dense` percent of which the dense network has right."""
    complete = table[table.state == "complete"]
    good = complete[complete.val_top1 >= dense - WITHIN]
    small = complete[complete.params_kept <= 1 - CUT]
    picked = {
        f"fewest parameters, at most {WITHIN:g} points below dense": good.sort_values("params", kind="stable"),
        f"fewest MACs, at most {WITHIN:g} points below dense": good.sort_values("macs", kind="stable"),
        f"highest accuracy, at least {CUT:.0%} of the parameters saved": small.sort_values(
            "val_top1", ascending=False, kind="stable"
        ),
    }
    for budget, group in complete.groupby("budget", sort=False):
        picked[f"lowest validation loss, {budget}"] = group.sort_values("val_loss", kind="stable")
    columns = ["budget", "trial", "macs_kept", "params_kept", "bytes_kept", "val_top1", "val_loss"]
    rows = [{"best": merit} | (dict(group.iloc[0][columns]) if len(group) else {}) for merit, group in picked.items()]
    return pd.DataFrame(rows, columns=["best", *columns])
