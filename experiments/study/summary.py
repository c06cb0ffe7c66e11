"""The study on one page: for each question a small table, every number of it computed from the tables of the study."""

from typing import Any

import pandas as pd

from ..lab.reporting.provenance import command_of, provenance
from ..lab.reporting.tables import Table, markdown
from ..lab.reporting.units import counted, digits
from .config import Study
from .measuring.clock import FRACTION
from .measuring.measure import Tables, pooled
from .measuring.versions import CONDITIONS
from .tables import KINDS, fraction_name, kinds, label, near, wide

READING = """Errors are |W - Ŵ| / |W|, means over layers weighted by their numbers: 0 is exact, 1 is nothing kept.
Which coefficients are the largest must be stored too: their positions are paid for out of the same budget, at 32 bits a
number. Random weights have the mean and standard deviation of the trained ones, shuffled ones their channels in random
order, sorted ones in a smooth order; random and shuffled are means of {repeats} a layer. Differences in the third digit
say little.
"""
LIMITS = """## What this does not say

The error of a weight is not the accuracy of a network, and the numbers are those of one network from one training.
Few coefficients save storage but no multiplications; factors save both. The order of sorted channels is stored for
nothing: it is free only where a layer's outputs may be permuted because all their readers follow.
"""
ORDER = """Sorting finds neighbours in noise as well: what it lowers of random weights is no structure of the trained
ones. Decompositions do not see the order at all.
"""
FLATTEN = """Behind a flatten, neighbours among the inputs of a Linear layer are neighbouring pixels of one channel:
there the order has a meaning that it lacks between channels.
"""


def best_of(rows: pd.DataFrame) -> tuple[str, str, str]:
    """Return (kernel, axes, keep) of the least error."""
    row = rows.loc[rows.error.idxmin()]
    return row.kernel, row["axes"], row.keep


def groups(errors: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return the rows of transforms, of decompositions, and of the weights themselves, the largest kept."""
    plain, factors = errors.kernel == "none", errors.keep == "rank"
    return {"transform": errors[~factors & ~plain], "decomposition": errors[factors], "none": errors[plain]}


def _ranking(errors: pd.DataFrame, fractions: list[float]) -> Table:
    """Rank the best transform and the best decomposition at each fraction, beside the largest weights themselves."""
    trained = errors[errors.condition == "trained"]
    rows = []
    for fraction in sorted(fractions):
        cells = []
        for name, group in groups(trained[trained.fraction == fraction]).items():
            cells += (
                [f"{group.error.min():.3f}"] if name == "none" else [label(*best_of(group)), f"{group.error.min():.3f}"]
            )
        rows.append([fraction_name(fraction), cells[0], cells[2], cells[1], cells[3], cells[4]])
    header = ["stored", "best transform", "best decomposition", "error of transform", "of decomposition", "of none"]
    return Table(header, rows, 3)


def _conditions(at: pd.DataFrame) -> Table:
    """Return errors of the best of each group and of the dct along the channels, by condition."""
    trained = at[at.condition == "trained"]
    chosen = [best_of(group) for group in groups(trained).values()]
    chosen += [("dct", "channels", keep) for keep in ("largest", "lowest")]
    table = wide(at, "condition", "error").reindex(columns=CONDITIONS)
    names = dict.fromkeys(label(*key) for key in chosen)
    return Table(["kernel", *CONDITIONS], [[name, *_errors(table.loc[name])] for name in names])


def _errors(values: pd.Series) -> list[str]:
    return ["" if pd.isna(value) else f"{value:.3f}" for value in values]


def _axes(at: pd.DataFrame) -> Table:
    """Return errors of the largest coefficients of the dct, by the axes that it runs along."""
    largest = at[(at.kernel.isin(["dct", "none"])) & (at.keep == "largest") & (at.condition == "trained")]
    return Table(
        ["dct along", "error"], [[row["axes"] or "no axis", f"{row.error:.3f}"] for _, row in largest.iterrows()]
    )


def _energy(compaction: pd.DataFrame) -> Table:
    """Count what holds the energy: coefficients of the most compact transform and of none, trained and random."""
    trained = compaction[compaction.condition == "trained"]
    best = trained.loc[trained.needed_90.idxmin()]
    rows = []
    for kernel, axes in dict.fromkeys([(best.kernel, best["axes"]), ("none", "")]):
        for condition in ("trained", "random"):
            row = compaction[
                (compaction.kernel == kernel) & (compaction["axes"] == axes) & (compaction.condition == condition)
            ].iloc[0]
            shares = [f"{row[f'needed_{share}']:.1%}" for share in (90, 95, 99)]
            rows.append([label(kernel, axes), condition, *shares, f"{row.gini:.3f}"])
    return Table(["kernel", "weights", "90 %", "95 %", "99 %", "Gini index"], rows, 2)


def _section(results: Tables, kind: str, fractions: list[float]) -> list[str]:
    errors = pooled(results.errors, kind)
    fraction = near(fractions)
    at = errors[errors.fraction == fraction]
    layers = results.errors[results.errors.kind == kind].layer.nunique()
    stored = fraction_name(fraction)
    return [
        f"## {KINDS[kind].capitalize()} ({counted(layers, 'layer')})\n",
        "**Which kernel holds them best?** Relative error by fraction of the numbers stored\n",
        markdown(_ranking(errors, fractions)),
        f"**Which axes?** Relative error at {stored}, largest coefficients\n",
        markdown(_axes(at)),
        f"**Is it training, and does the order of the channels matter?** Relative error at {stored}\n",
        markdown(_conditions(at)),
        ORDER,
        *([FLATTEN] if kind == "linear" else []),
        "**How compact?** Fraction of the coefficients that holds a share of the energy; Gaussian numbers have a Gini "
        "index of 0.414\n",
        markdown(_energy(pooled(results.compaction, kind))),
    ]


def time_table(clock: pd.DataFrame) -> Table:
    """Return milliseconds of one encoding by kernel and stage; a ratio that was timed on a busy machine is left out."""
    rows = []
    for (kernel, axes), timings in clock.groupby(["kernel", "axes"], sort=False):
        medians = timings.set_index("stage")["median"] * 1e3
        ratio = "busy" if timings.busy.any() else f"{medians[1] / medians[3]:.3g}x"
        rows.append([label(kernel, axes), *(digits(medians[stage], 3) for stage in (1, 2, 3)), ratio])
    return Table(["kernel", "SciPy, ms", "NumPy, ms", "torch, ms", "SciPy / torch"], rows)


def _time(clock: pd.DataFrame, facts: dict[str, Any]) -> list[str]:
    shape, threads = "x".join(map(str, facts["timed"]["shape"])), facts["environment"]["threads"]
    return [
        "## Time\n",
        f"One encoding of {facts['timed']['name']} ({shape}) in float32, {counted(threads, 'thread')}, decompositions "
        f"at {fraction_name(FRACTION)} of the numbers: medians, all measured in turn\n",
        markdown(time_table(clock)),
    ]


def text(study: Study, results: Tables, clock: pd.DataFrame, facts: dict[str, Any]) -> str:
    """Return the page summary.md."""
    config = facts["config"]
    skipped = f"Skipped, for fewer than {config['least']:,} numbers: {', '.join(facts['skipped'])}.\n"
    weights = counted(len(facts["layers"]), "weight")
    return "\n".join(
        [
            "# How well each kernel holds trained weights\n",
            f"Studied: {facts['source']}, {weights}.\n",
            *([skipped] if facts["skipped"] else []),
            READING.format(repeats=counted(config["repeats"], "draw")),
            *(part for kind in kinds(results.errors) for part in _section(results, kind, config["fractions"])),
            *(_time(clock, facts) if len(clock) else []),
            LIMITS,
            provenance(
                command_of("study", study), facts["environment"], f"{weights}, {counted(config['repeats'], 'draw')}"
            ),
            "",
        ]
    )
