"""The study in words, on one page: every number and every comparison is computed from the tables."""

import pandas as pd

from .measuring.clock import FRACTION
from .measuring.measure import Tables, pooled
from .tables import KINDS, fraction_name, kinds, label, near, wide

AFTER_FLATTEN = (
    "Behind a flatten, neighbours among the inputs of a Linear layer are neighbouring pixels of one channel: there the "
    "order has a meaning that it lacks between channels.\n"
)
SAME = 0.005  # relative errors nearer than this are called equal: half of the second digit


def compare(a: float, b: float) -> str:
    """How error a compares with error b."""
    return "about as well as" if abs(a - b) < SAME else "better than" if a < b else "worse than"


def change(before: float, after: float) -> str:
    """What became of an error."""
    words = "leaves it" if abs(after - before) < SAME else "lowers it" if after < before else "raises it"
    return f"{words} at {after:.3f}" if words == "leaves it" else f"{words} to {after:.3f}"


def _best(rows: pd.DataFrame) -> tuple[str, float]:
    row = rows.loc[rows.error.idxmin()]
    return label(row.kernel, row["axes"], row.keep), float(row.error)


def _ranking(errors: pd.DataFrame, fractions: list[float]) -> str:
    """Which kernel is best, at the smallest, the middle and the largest fraction."""
    trained = errors[errors.condition == "trained"]
    lines = []
    for fraction in dict.fromkeys([min(fractions), near(fractions), max(fractions)]):
        some = trained[trained.fraction == fraction]
        transform, first = _best(some[~some.keep.isin(["rank"]) & (some.kernel != "none")])
        factors, second = _best(some[some.keep == "rank"])
        plain = float(some[some.kernel == "none"].error.iloc[0])
        lines.append(
            f"- At {fraction_name(fraction)} of the numbers the best transform is {transform} with a relative error of "
            f"{first:.3f}, {compare(first, second)} the best decomposition, {factors}, with {second:.3f}. Keeping the "
            f"largest weights themselves leaves {plain:.3f}: the transform does {compare(first, plain)} that, the "
            f"decomposition {compare(second, plain)} that."
        )
    return "\n".join(lines)


def _training(at: pd.DataFrame) -> str:
    """Trained against random, for the best transform and the best decomposition."""
    trained, noise = (at[at.condition == c].set_index(["kernel", "axes", "keep"]).error for c in ("trained", "random"))
    lines = []
    for words, mask in (("transform", at.keep == "largest"), ("decomposition", at.keep == "rank")):
        some = at[mask & (at.condition == "trained") & (at.kernel != "none")]
        key = tuple(some.loc[some.error.idxmin(), ["kernel", "axes", "keep"]])
        a, b = trained[key], noise[key]
        lines.append(
            f"The best {words}, {label(*key)}, holds trained weights {compare(a, b)} random ones of the same mean and "
            f"standard deviation ({a:.3f} against {b:.3f})."
        )
    plain = trained["none", "", "largest"], noise["none", "", "largest"]
    a, b = plain
    if abs(a - b) < SAME:
        words = "the two are alike, so the advantage is structure and not that trained weights are unequal in size"
    elif a < b:
        words = "trained weights are ahead as well: part of the advantage is that they are unequal in size"
    else:
        words = "trained weights are behind"
    lines.append(f"Without any transform {words} ({a:.3f} against {b:.3f}).")
    return " ".join(lines)


def _order(at: pd.DataFrame, by_layer: pd.DataFrame) -> str:
    """The order of the channels: shuffled, sorted, and what sorting finds in noise."""
    lines = []
    for keep in ("largest", "lowest"):
        some = at[(at.kernel == "dct") & (at["axes"] == "channels") & (at.keep == keep)].set_index("condition").error
        layers = by_layer[(by_layer.kernel == "dct") & (by_layer["axes"] == "channels") & (by_layer.keep == keep)]
        layers = layers.pivot(index="layer", columns="condition", values="error")
        better = int((layers["sorted"] < layers["shuffled"]).sum())
        lines.append(
            f"- dct along the channels, {keep}{'-frequency' if keep == 'lowest' else ''} coefficients: trained "
            f"{some['trained']:.3f}; shuffling the channels {change(some['trained'], some['shuffled'])}, sorting them "
            f"{change(some['trained'], some['sorted'])} (below shuffled in {better} of {len(layers)} layers). "
            f"Sorting random weights takes them from {some['random']:.3f} to {some['random, sorted']:.3f}, a change of "
            f"{some['random, sorted'] - some['random']:+.3f} that is no structure; on trained weights the change "
            f"is {some['sorted'] - some['shuffled']:+.3f}."
        )
    factored = wide(at[at.keep == "rank"], "condition", "error")
    most = float((factored["trained"] - factored["shuffled"]).abs().max())
    lines.append(f"- Decompositions do not see the order: shuffling changes no error by more than {most:.1g}.")
    return "\n".join(lines)


def _axes(at: pd.DataFrame) -> str:
    """Spatial against channel transforms."""
    some = at[(at.kernel == "dct") & (at.keep == "largest") & (at.condition == "trained")].set_index("axes").error
    plain = float(at[(at.kernel == "none") & (at.condition == "trained")].error.iloc[0])
    if "spatial" not in some:
        words = f"{some['channels']:.3f}, {compare(some['channels'], plain)}"
        return f"Along the channels, the only axes here, dct leaves {words} no transform at all ({plain:.3f})."
    return (
        f"Along the kernel axes dct leaves {some['spatial']:.3f}, along the channels {some['channels']:.3f}, along all "
        f"{some['all']:.3f}; no transform at all leaves {plain:.3f}. So the kernel axes do "
        f"{compare(some['spatial'], plain)} no transform, "
        f"the channel axes {compare(some['channels'], plain)} none, and "
        f"all axes together {compare(some['all'], some['spatial'])} the kernel axes alone."
    )


def _energy(compaction: pd.DataFrame) -> str:
    """The most compact transform, and what random weights give."""
    trained = compaction[compaction.condition == "trained"]
    row = trained.loc[trained.needed_90.idxmin()]
    same = compaction[(compaction.kernel == row.kernel) & (compaction["axes"] == row["axes"])].set_index("condition")
    plain = trained[trained.kernel == "none"].iloc[0]
    name = "the weights themselves" if row.kernel == "none" else label(row.kernel, row["axes"])
    return (
        f"Most compact at 90 % of the energy is {name}: {row.needed_90:.1%} of the coefficients, "
        f"{row.needed_95:.1%} for 95 % and {row.needed_99:.1%} for 99 %, with a Gini index of {row.gini:.3f}; without "
        f"a transform {plain.needed_90:.1%} and {plain.gini:.3f}. Random weights need "
        f"{same.needed_90['random']:.1%} and have {same.gini['random']:.3f} (Gaussian numbers: 0.414)."
    )


def _section(results: Tables, kind: str, fractions: list[float]) -> str:
    errors = pooled(results.errors, kind)
    fraction = near(fractions)
    at = errors[errors.fraction == fraction]
    by_layer = results.errors[(results.errors.kind == kind) & (results.errors.fraction == fraction)]
    count = by_layer.layer.nunique()
    return "\n".join(
        [
            f"## {KINDS[kind].capitalize()} ({count} {'layer' if count == 1 else 'layers'})\n",
            "**Which kernel holds them best?**\n",
            _ranking(errors, fractions) + "\n",
            f"**Which axes?** At {fraction_name(fraction)}: {_axes(at)}\n",
            f"**Is it training?** At {fraction_name(fraction)}: {_training(at)}\n",
            f"**Does the order of the channels matter?** At {fraction_name(fraction)}:\n",
            _order(at, by_layer) + "\n",
            *([AFTER_FLATTEN] if kind == "linear" else []),
            f"**How compact?** {_energy(pooled(results.compaction, kind))}\n",
        ]
    )


def _time(clock: pd.DataFrame, facts: dict) -> str:
    ms = clock.pivot(index=["kernel", "axes"], columns="stage", values="median") * 1e3
    ratio = ms[1] / ms[3]
    faster = int((ratio > 1).sum())
    low, high = ratio.idxmin(), ratio.idxmax()
    slow = ms[3].idxmax()
    return (
        f"## Time\n\nOne encoding of {facts['timed']['name']} "
        f"({'x'.join(map(str, facts['timed']['shape']))}), float32, threads: {facts['environment']['threads']}, "
        f"decompositions at {fraction_name(FRACTION)}: stage 3 is faster than stage 1 for {faster} of {len(ratio)} "
        f"kernels, from {ratio[low]:.3g} times as fast ({label(low[0], low[1])}) to {ratio[high]:.3g} times "
        f"({label(high[0], high[1])}). The slowest in stage 3 is {label(slow[0], slow[1])} with {ms[3][slow]:.3g} ms.\n"
    )


def text(results: Tables, clock: pd.DataFrame, facts: dict) -> str:
    """summary.md."""
    config = facts["config"]
    skipped = f" Skipped, for fewer than {config['least']:,} numbers: {', '.join(facts['skipped'])}."
    parts = [
        f"# How well each kernel holds trained weights\n\nStudied: {facts['source']}, {len(facts['layers'])} weights."
        f"{skipped if facts['skipped'] else ''} Errors are |W - Ŵ| / |W|, means over layers weighted by their numbers; "
        f"those nearer than {SAME} are called equal. Which coefficients are the largest must be stored too: "
        f"their positions are paid for out of the same budget, at 32 bits a number. "
        f"Random weights and orders are means of {config['repeats']} draws a layer.\n",
        *(_section(results, kind, config["fractions"]) for kind in kinds(results.errors)),
        *([_time(clock, facts)] if len(clock) else []),
        "## What this does not say\n\nThe error of a weight is not the accuracy of a network, and the numbers are "
        "those of one network from one training. Few coefficients save storage but no multiplications; factors save "
        "both. The order of sorted channels is stored for nothing: it is free only "
        "where a layer's outputs may be permuted because all their readers follow.\n",
    ]
    return "\n".join(parts)
