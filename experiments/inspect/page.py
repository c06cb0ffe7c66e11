"""The page of the inspector: what was lost where, then for each layer its pictures."""

from collections.abc import Sequence
from pathlib import Path

import plotly.graph_objects as go

from layers import Cost
from layers.planning import LayerPlan

from ..lab.reporting.page import Block, Columns, Fold, Page, Plot, Prose, Section
from ..lab.reporting.page.curves import Line, lines
from ..lab.reporting.page.layers import layer_blocks, short, words
from ..lab.reporting.style import look
from ..lab.reporting.units import percent
from .energy import explained, singular_values
from .filters import pictures, spectra
from .parts import norms, tree
from .source import Layer, Network, Seen

OVERLAY = "For Model Explorer: open model.onnx there and load one of these as custom node data. Netron shows the graph."


def page(seen: Seen, most: int, overlays: Sequence[Path]) -> Page:
    """Return the page; `most`: layers of each network that get figures."""
    headline, sentences = _verdict(seen)
    if seen.verdict:
        sentences = [*sentences, f"By accuracy, not by weights: {seen.verdict} Why is in the run's report.html."]
    sections = [_network(network, most, number == 0) for number, network in enumerate(seen.networks)]
    if not seen.networks:
        sections = [Section("The largest layers", [_alone(name, seen) for name in _largest(seen, most)])]
    if drifts := _drift(seen):
        sections.append(Section("Drift of learned frequencies", [Columns(drifts)], "Bins from where each began."))
    if overlays:
        files = [Prose(str(path)) for path in overlays]
        sections.append(Section("On the graph", files, OVERLAY))
    return Page(seen.title, headline, sentences, sections)


def _verdict(seen: Seen) -> tuple[str, list[str]]:
    """Say which network is nearest to the dense weights, and where each moved most."""
    judged = {network.name: found for network in seen.networks if (found := _moved(network)) is not None}
    if not judged:
        count = sum(w.numel() for w in seen.dense.values())
        what = "No weights before compression are known" if seen.networks else f"{len(seen.dense)} weights to look at"
        return f"{what}.", [f"{count:,} numbers before compression."] if seen.dense else []
    name = min(judged, key=lambda network: judged[network][0])
    error, worst = judged[name]
    headline = f"{name} is nearest to the dense weights: relative error {error:.2f} where it compresses."
    if len(judged) == 1:
        headline = f"{name} moved the weights that it compresses by {percent(error)} of their norm."
    first = f"Its largest change is in {worst.row.name}: relative error {worst.error:.2f} ({words(worst.row)})."
    others = ", ".join(f"{other} {found[0]:.2f}" for other, found in judged.items() if other != name)
    near = f"The others: {others}. " if others else ""
    return headline, [first, f"{near}{NEAR}"]


NEAR = "Near is not accurate: a fit for the loss moves weights freely where no image ever looks."


def _moved(network: Network) -> tuple[float, Layer] | None:
    """Return (|W - W_hat| / |W| over all layers, the layer where it is largest); None where no W is known."""
    known = [layer for layer in network.layers if layer.before is not None]
    if not known:
        return None
    energies = [float(layer.before.double().square().sum()) for layer in known if layer.before is not None]
    errors = [layer.error or 0.0 for layer in known]
    total = sum(error**2 * energy for error, energy in zip(errors, energies)) / max(sum(energies), 1e-300)
    return total**0.5, known[errors.index(max(errors))]


def _network(network: Network, most: int, first: bool) -> Section:
    """Return what is seen of one network; of the first the plan and the layer that changed most are open."""
    ordered = sorted(network.layers, key=lambda layer: -(layer.error or 0.0))
    blocks: list[Block] = [_errors(network)] if any(layer.before is not None for layer in network.layers) else []
    blocks.append(Fold("The plan", layer_blocks(network.plan, of=network.name)))
    for number, layer in enumerate(ordered[:most]):
        blocks.append(Fold(_title(layer), layer_pictures(layer), first and not number, layer.row.kernel or "dense"))
    note = f"The {most} layers that changed most; --layers shows more." if len(ordered) > most else ""
    return Section(network.name, blocks, note)


def _title(layer: Layer) -> str:
    lost = "" if layer.error is None else f", relative error {layer.error:.2f}"
    return f"{layer.row.name}: {layer.row.kernel}, {words(layer.row)}{lost}"


def layer_pictures(layer: Layer) -> list[Block]:
    """Return every picture that this layer has."""
    found = [spectra(layer), explained(layer), singular_values(layer), norms(layer), tree(layer)]
    return [pictures(layer), Columns([plot for plot in found if plot is not None])]


def _errors(network: Network) -> Plot:
    """Draw the relative error of each layer's weight."""
    known = [layer for layer in network.layers if layer.error is not None]
    figure = go.Figure()
    for layer in known:
        figure.add_bar(
            x=[layer.error],
            y=[short(layer.row.name)],
            orientation="h",
            marker={"color": look(layer.row.kernel or "dense").colour},
            hovertemplate=f"<b>{layer.row.name}</b><br>%{{x:.3f}}<br>{words(layer.row)}<extra></extra>",
        )
    figure.update_yaxes(autorange="reversed", showgrid=False)
    figure.update_xaxes(title_text="|W - W_hat| / |W|", rangemode="tozero")
    figure.update_layout(height=26 * len(known) + 90, showlegend=False, barmode="overlay")
    said = "; ".join(f"{layer.row.name} {layer.error:.2f}" for layer in known)
    return Plot(figure, f"Relative error of the weight by layer: {said}.", "Relative error of each weight")


def _largest(seen: Seen, most: int) -> list[str]:
    return sorted(seen.dense, key=lambda name: -seen.dense[name].numel())[:most]


def _alone(name: str, seen: Seen) -> Block:
    """Return the pictures of a weight that nothing has compressed."""
    w = seen.dense[name].float()
    shape = " x ".join(map(str, w.shape))
    size = Cost(w.numel(), 0, w.nbytes)
    row = LayerPlan(name, None, {}, size, size, 0.0, shape=tuple(w.shape))
    return Fold(f"{name}: {shape}", layer_pictures(Layer(row, None, w)), name == _largest(seen, 1)[0], "dense")


def _drift(seen: Seen) -> list[Plot]:
    """Draw the quantiles of how far the frequencies of each layer have moved, epoch by epoch."""
    plots = []
    rows = [row for row in seen.epochs if row.get("drift")]
    for network in dict.fromkeys(row["network"] for row in rows):
        own = [row for row in rows if row["network"] == network]
        for layer in own[0]["drift"]:
            x = [row["epoch"] + 1 for row in own]
            shown = [
                Line(name, x, [row["drift"][layer][place] for row in own], dash, "lines", look(network).colour)
                for place, (name, dash) in enumerate(QUANTILES.items())
            ]
            figure = lines(shown, "epoch", "bins", 300)
            last = own[-1]["drift"][layer]
            ends = f"median {last[2]:.3g} bins, 90 % from {last[0]:.3g} to {last[4]:.3g}"
            alt = f"Drift of the frequencies of {layer} of {network}: {ends}."
            plots.append(Plot(figure, alt, f"{network}, {layer}"))
    return plots


QUANTILES = {"5 %": "dot", "25 %": "dash", "median": "solid", "75 %": "dash", "95 %": "dot"}
