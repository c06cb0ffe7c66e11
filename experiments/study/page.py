"""The page of a study: which kernel holds trained weights best, against random ones, with every figure."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from ..lab.reporting.formats import copies
from ..lab.reporting.page import Block, Code, Columns, Fold, Grid, Legend, Page, Plot, Section
from ..lab.reporting.page.curves import Line, lines
from ..lab.reporting.provenance import command_of, machine
from ..lab.reporting.style import COLOURS, GREY
from ..lab.reporting.tables import Table
from .config import Study
from .headline import judged
from .measuring.measure import Tables, pooled
from .measuring.versions import CONDITIONS
from .summary import LIMITS, time_table
from .tables import KINDS, fraction_name, kinds, label, near, wide

NOTE = (
    "Relative error |W - Ŵ| / |W|, lower is better: 0 is exact, 1 means that nothing fits. "
    "Dotted: random weights of the same shapes."
)
ITSELF = "weights themselves"  # kernel `none`, for readers: the largest weights are kept, as in pruning


def page(study: Study, results: Tables, clock: pd.DataFrame, facts: dict[str, Any]) -> Page:
    """Return the page, convolutions first."""
    fractions, studied = facts["config"]["fractions"], kinds(results.errors)
    first = pooled(results.errors, studied[0])
    headline, sentences, numbers = judged(first, near(fractions), studied[0], facts)
    sections = []
    for kind in studied:
        errors, of_kind = pooled(results.errors, kind), f", {KINDS[kind]}" if len(studied) > 1 else ""
        sections += [
            Section(f"Error by numbers stored{of_kind}", _by_fraction(errors, fractions, kind), NOTE),
            Section(f"Training, and the order of channels{of_kind}", [_by_condition(errors, near(fractions))], ORDER),
            Section(f"Variance explained{of_kind}", _by_coefficient(pooled(results.curves, kind)), ENERGY),
        ]
    if len(clock):
        rows = time_table(clock)
        grid = Grid(rows, "Milliseconds of one encoding", copies=copies(rows), names=0)
        sections.append(Section("Time", [_by_stage(clock, facts), grid], TIMES))
    limits = " ".join(LIMITS.partition("\n\n")[2].split())
    sections.append(Section("What this does not say", [], limits))
    again: list[Block] = [Code(command_of("study", study), "the command")]
    sections.append(Section("Do it again", again, f"{machine(facts['environment'])}."))
    return Page(f"Kernel study: {facts['source']}", headline, sentences, sections, numbers)


ORDER = (
    "Do neighbours among the channels mean anything? Only where the trained weights lie to the left of the shuffled "
    "and of the random ones; sorting finds neighbours in noise as well."
)
TIMES = "Medians and quartiles of the three implementations of each kernel, on the same weight in float32."
ENERGY = "Energy in the first n coefficients, as a fraction of all. Solid: trained weights; dotted: random ones."


def _by_fraction(errors: pd.DataFrame, fractions: Sequence[float], kind: str) -> list[Block]:
    """Return relative error against the fraction stored: transforms, then decompositions, and both as a table."""
    trained = errors[errors.condition == "trained"]
    noise = errors[(errors.condition == "random") & (errors.kernel == "none")].sort_values("fraction")
    random = Line("random", noise.fraction.tolist(), noise.error.tolist(), "dot", "lines", GREY)
    panels = {"Transforms, largest coefficients": "largest", "Decompositions": "rank"}
    plots, names = [], []
    span = [0, 1.05 * max(1.0, float(trained.error.max()))]  # one for both: they are compared
    for title, keep in panels.items():
        shown = [random]
        for kernel, rows in trained[trained.keep == keep].groupby("kernel", sort=False):
            line = rows.loc[rows.groupby("fraction").error.idxmin()].sort_values("fraction")  # the best of its axes
            name = ITSELF if kernel == "none" else str(kernel)
            shown.append(Line(name, line.fraction.tolist(), line.error.tolist()))
            names.append(name)
        plots.append(_log(shown, fractions, "relative error", title, span))
    table = wide(trained, "fraction", "error").rename(columns=fraction_name)
    rows = [
        [ITSELF if name == "none" else str(name), *("" if pd.isna(v) else f"{v:.3f}" for v in values)]
        for name, values in zip(table.index, table.to_numpy())
    ]
    caption = f"Relative error of {KINDS[kind]} by fraction stored"
    grid = Grid(Table(["kernel", *map(str, table.columns)], rows), caption, names=0)
    grid = grid._replace(copies=copies(grid.table))
    return [Legend(list(dict.fromkeys(names))), Columns(plots), Fold("Every number", [grid])]


def _log(shown: Sequence[Line], fractions: Sequence[float], y: str, title: str, span: Sequence[float]) -> Plot:
    figure = lines(shown, "fraction of the numbers stored", y, 380)
    ticks = sorted(fractions)
    figure.update_xaxes(type="log", tickvals=ticks, ticktext=[fraction_name(f) for f in ticks])
    figure.update_yaxes(range=span)
    words = "; ".join(f"{line.name} from {line.y[0]:.2f} to {line.y[-1]:.2f}" for line in shown if len(line.y))
    return Plot(figure, f"{title}, {y}: {words}.", title)


def _by_condition(errors: pd.DataFrame, at: float) -> Plot:
    """Draw transforms along the channels at one fraction: trained, shuffled, sorted and random weights."""
    rows = errors[(errors.fraction == at) & (errors["axes"] == "channels") & (errors.keep == "largest")]
    figure, said = go.Figure(), []
    for number, condition in enumerate(CONDITIONS):
        points = rows[rows.condition == condition]
        marker = {"size": 11, "symbol": ("circle", "square", "diamond", "triangle-up", "x")[number % 5]}
        colour = COLOURS[1 + number % 6]
        figure.add_scatter(
            x=points.error, y=points.kernel, mode="markers", name=condition, marker={**marker, "color": colour}
        )
        if len(points):
            said.append(f"{condition} {points.error.min():.3f} to {points.error.max():.3f}")
    figure.update_yaxes(autorange="reversed")
    figure.update_xaxes(title_text=f"relative error at {fraction_name(at)}")
    figure.update_layout(height=80 + 44 * rows.kernel.nunique(), margin={"t": 60})
    title = f"Transforms along the channels, largest coefficients, {fraction_name(at)} of the numbers"
    return Plot(figure, f"Error of transforms along the channels: {'; '.join(said)}.", title)


def _by_coefficient(curves: pd.DataFrame) -> list[Block]:
    """Return the variance explained by the first n coefficients of the DCT, of the SVD and of the weights."""
    choices = [("none", "", "the weights themselves")]
    choices += [("dct", name, f"dct ({name})") for name in dict.fromkeys(curves[curves.kernel == "dct"]["axes"])]
    choices += [("svd", name, f"svd ({name})") for name in dict.fromkeys(curves[curves.kernel == "svd"]["axes"])]
    plots = []
    for keep, title in {"largest": "Largest first", "lowest": "Lowest frequency first"}.items():
        shown = []
        for number, (kernel, axes, name) in enumerate(choices):
            of_kernel = curves[(curves.kernel == kernel) & (curves["axes"] == axes)]
            of_kernel = of_kernel[of_kernel.keep == ("rank" if kernel == "svd" else keep)]
            for condition, dash in {"trained": "solid", "random": "dot"}.items():
                line = of_kernel[of_kernel.condition == condition].sort_values("fraction")
                words = name if condition == "trained" else f"{name}, random"
                if len(line):
                    colour = COLOURS[1 + number % 6]
                    shown.append(Line(words, line.fraction.tolist(), line.explained.tolist(), dash, "lines", colour))
        figure = lines(shown, "first n coefficients, as a fraction of all", "variance explained", 420, legend=True)
        ticks = [2.0**-k for k in (8, 6, 4, 2, 0)]
        figure.update_xaxes(type="log", tickvals=ticks, ticktext=[fraction_name(f) if f < 1 else "1" for f in ticks])
        figure.update_yaxes(tickformat=".0%")
        figure.for_each_trace(lambda trace: trace.update(showlegend=trace.line.dash == "solid"))
        figure.update_layout(margin={"t": 80})
        said = "; ".join(f"{line.name} {line.y[len(line.y) // 2]:.0%} half way" for line in shown)
        plots.append(Plot(figure, f"{title}: {said}.", title))
    return [Columns(plots)]


def _by_stage(clock: pd.DataFrame, facts: dict[str, Any]) -> Plot:
    """Draw the time of one encoding, a row per kernel, a point per stage with its quartiles."""
    figure, said = go.Figure(), []
    for number, (stage, timings) in enumerate(clock.groupby("stage")):
        middle = timings["median"] * 1e3
        name = f"stage {stage}: {('SciPy', 'NumPy', 'torch')[number]}"
        bars = {"array": timings.high * 1e3 - middle, "arrayminus": middle - timings.low * 1e3, "width": 0}
        names = [label(k, "" if a == "input channels" else a) for k, a in zip(timings.kernel, timings["axes"])]
        marker = {"size": 11, "symbol": ("circle", "square", "diamond")[number], "color": COLOURS[1 + number]}
        figure.add_scatter(x=middle, y=names, mode="markers", name=name, error_x=bars, marker=marker)
        said.append(f"{name} {middle.min():.3g} to {middle.max():.3g} ms")
    figure.update_xaxes(type="log", title_text="ms", dtick=1)
    figure.update_yaxes(autorange="reversed")
    figure.update_layout(height=110 + 30 * clock.kernel.nunique(), margin={"t": 50})
    shape = "x".join(map(str, facts["timed"]["shape"]))
    return Plot(figure, f"Time of one encoding of {facts['timed']['name']} ({shape}): {'; '.join(said)}.")
