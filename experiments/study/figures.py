"""The figures of a study, one message each, as PNG and PDF.  Drawn on matplotlib's objects: no global state."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter, NullLocator

from ..lab.reporting.canvas import canvas, save, styled
from ..lab.reporting.style import COLOURS, GREY, MARKERS, kernel_style
from .measuring.clock import FRACTION
from .measuring.measure import Tables, pooled
from .measuring.versions import CONDITIONS
from .tables import KINDS, fraction_name, kinds, label, near

CURVES = [*COLOURS[1:], COLOURS[0]]
PERCENT = FuncFormatter(lambda value, _: f"{value:.0%}")


def _fractions(ax: Axes, fractions: list[float]) -> None:
    ax.set_xscale("log", base=2)
    ax.set_xticks(fractions, [fraction_name(f) for f in fractions])
    ax.xaxis.set_minor_locator(NullLocator())


@styled()
def by_fraction(errors: pd.DataFrame, fractions: list[float], kind: str) -> Figure:
    """Draw relative error against the fraction stored: transforms on the left, decompositions on the right."""
    figure, axes = canvas(2, (7.2, 3.7), share_y=True)
    trained = errors[errors.condition == "trained"]
    best = _best_axes(trained, near(fractions))
    noise = errors[(errors.condition == "random") & (errors.kernel == "none")].sort_values("fraction")
    panels = [trained[(trained.keep == "largest")].merge(best), trained[trained.keep == "rank"]]
    titles = [f"transforms ({best['axes'][best.kernel == 'dct'].iloc[0]} axes), largest coefficients", "decompositions"]
    for ax, panel, title in zip(axes, panels, titles):
        ax.plot(noise.fraction, noise.error, color=GREY, linestyle=":", label="random weights, largest")
        seen: set[str] = set()
        for (kernel, names), line in panel.groupby(["kernel", "axes"], sort=False):
            line = line.sort_values("fraction")
            name = kernel if ax is axes[0] else label(kernel, names)
            name = "the weights themselves" if kernel == "none" else name
            style = kernel_style(kernel) | ({"fillstyle": "none"} if kernel in seen else {})  # along other axes
            seen.add(kernel)
            ax.plot(line.fraction, line.error, label=name, **style)
        _fractions(ax, sorted(fractions))
        ax.set_xlabel("fraction of the weight's numbers stored, positions paid")
        ax.set_title(title)
        ax.legend(loc="lower left")
    axes[0].set_ylabel("relative error |W - Ŵ| / |W|")
    axes[0].set_ylim(0, 1.02)
    figure.suptitle(f"What each kernel loses of trained {KINDS[kind]}")
    return figure


def _best_axes(trained: pd.DataFrame, at: float) -> pd.DataFrame:
    """Return the one choice of axes (kernel, axes) that suits the DCT best, for every transform: equal terms."""
    largest = trained[(trained.fraction == at) & (trained.keep == "largest")]
    dct = largest[largest.kernel == "dct"]
    axes = dct["axes"][dct.error.idxmin()]
    return largest[(largest["axes"] == axes) | (largest.kernel == "none")][["kernel", "axes"]]


@styled()
def by_condition(errors: pd.DataFrame, fractions: list[float], kind: str) -> Figure:
    """Draw transforms along the channels: error of trained, shuffled, sorted and random weights."""
    at = near(fractions)
    channels = errors[(errors.fraction == at) & (errors["axes"] == "channels") & (errors.keep != "rank")]
    names = [(kernel, keep) for keep in ("largest", "lowest") for kernel in dict.fromkeys(channels.kernel)]
    figure, axes = canvas(2, (7.2, 3.4), share_y=True)
    for ax, wanted in zip(axes, ("largest", "lowest")):
        rows = [kernel for kernel, keep in names if keep == wanted]
        for number, condition in enumerate(CONDITIONS):
            points = channels[(channels.condition == condition) & (channels.keep == wanted)].set_index("kernel").error
            heights = [row + 0.12 * (number - 2) for row in range(len(rows))]
            ax.plot(points.loc[rows], heights, MARKERS[number], color=CURVES[number], label=condition, markersize=6)
        ax.set_yticks(range(len(rows)), rows)
        ax.set_xlabel(f"relative error, {fraction_name(at)} of the numbers stored")
        ax.set_title(f"{wanted}{'-frequency' if wanted == 'lowest' else ''} coefficients")
    axes[0].invert_yaxis()
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    figure.suptitle(f"Transforms along the channels of {KINDS[kind]}: does the order of channels matter?")
    return figure


@styled()
def by_coefficient(curves: pd.DataFrame, kind: str) -> Figure:
    """Draw the variance explained by the first n coefficients of the DCT, largest first and lowest frequency first."""
    figure, axes = canvas(2, (7.2, 3.4), share_y=True)
    choices = list(dict.fromkeys(curves[curves.kernel == "dct"]["axes"]))
    lines = [("none", "", "weights themselves"), *(("dct", name, f"dct ({name})") for name in choices)]
    lines += [("svd", name, f"svd ({name})") for name in dict.fromkeys(curves[curves.kernel == "svd"]["axes"])]
    for ax, keep in zip(axes, ("largest", "lowest")):
        for number, (kernel, names, words) in enumerate(lines):
            shown = curves[(curves.kernel == kernel) & (curves["axes"] == names)]
            shown = shown[shown.keep == ("rank" if kernel == "svd" else keep)]
            for condition, style in {"trained": "-", "random": ":"}.items():
                line = shown[shown.condition == condition].sort_values("fraction")
                name = words if condition == "trained" else None
                ax.plot(line.fraction, line.explained, style, color=CURVES[number], label=name if len(line) else None)
        ax.set_xscale("log", base=2)
        ticks = [2.0**-k for k in (8, 6, 4, 2, 0)]
        ax.set_xticks(ticks, [fraction_name(f) if f < 1 else "1" for f in ticks])
        ax.xaxis.set_minor_locator(NullLocator())
        ax.set_xlabel("first n coefficients, as a fraction of all")
        ax.set_title({"largest": "largest first", "lowest": "lowest frequency first"}[keep])
        ax.legend(loc="upper left", title="solid: trained, dotted: random")
    axes[0].set_ylabel("variance explained")
    axes[0].yaxis.set_major_formatter(PERCENT)
    figure.suptitle(f"Energy of {KINDS[kind]} in the first coefficients; svd by its components")
    return figure


@styled()
def by_stage(clock: pd.DataFrame, facts: dict[str, Any]) -> Figure:
    """Time of one encoding, one row per kernel, one point per stage with its quartiles."""
    figure, (ax,) = canvas(1, (7.2, 3.5), share_y=True)
    rows = list(dict.fromkeys(zip(clock.kernel, clock["axes"])))
    for number, (stage, timings) in enumerate(clock.groupby("stage")):
        place = [rows.index(key) + 0.16 * (number - 1) for key in zip(timings.kernel, timings["axes"])]
        middle = timings["median"] * 1e3
        spread = [middle - timings.low * 1e3, timings.high * 1e3 - middle]
        name = f"stage {stage}: {('SciPy', 'NumPy', 'torch')[number]}"
        ax.errorbar(middle, place, xerr=spread, fmt=MARKERS[number], color=CURVES[number], label=name, capsize=2)
    ax.set_xscale("log")
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set_yticks(range(len(rows)), [label(k, "" if a == "input channels" else a) for k, a in rows])
    ax.invert_yaxis()
    ax.set_xlabel("milliseconds of one encoding, median and quartiles")
    ax.legend()
    shape = "x".join(map(str, facts["timed"]["shape"]))
    figure.suptitle(
        f"Time per stage: {facts['timed']['name']} ({shape}), float32, threads: {facts['environment']['threads']};\n"
        f"transforms along the input channels, decompositions at {fraction_name(FRACTION)} of the numbers",
    )
    return figure


def drawn(results: Tables, clock: pd.DataFrame, facts: dict[str, Any]) -> Iterator[tuple[str, Figure]]:
    """Yield (file name, figure) of convolutions, then of Linear layers, which end in _linear if there are both."""
    fractions, studied = facts["config"]["fractions"], kinds(results.errors)
    for kind in studied:
        ending = "" if kind == studied[0] else f"_{kind}"
        errors = pooled(results.errors, kind)
        yield f"error_by_fraction{ending}", by_fraction(errors, fractions, kind)
        yield f"error_by_condition{ending}", by_condition(errors, fractions, kind)
        yield f"variance_explained{ending}", by_coefficient(pooled(results.curves, kind), kind)
    if len(clock):
        yield "time_per_stage", by_stage(clock, facts)


def write(results: Tables, clock: pd.DataFrame, facts: dict[str, Any], folder: Path) -> None:
    """Write every figure as PNG and PDF."""
    for name, figure in drawn(results, clock, facts):
        save(figure, folder / name)
