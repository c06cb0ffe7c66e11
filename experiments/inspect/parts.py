"""What a decomposition is made of: the norms of CP's terms, the dimension tree of HT with its ranks."""

from collections.abc import Sequence

import plotly.graph_objects as go
from torch import Tensor

from trees import Tree, dimension_tree, post_order

from ..lab.reporting.page import Plot
from ..lab.reporting.style import GREY, look
from .source import Layer

AXES = ("outputs", "inputs", "height", "width")


def modes(node: Tree) -> set[int]:
    """Return the axes in a subtree."""
    return {part for part in post_order(node) if isinstance(part, int)}


def norms(layer: Layer) -> Plot | None:
    """Draw the norms of the terms of a CP, largest first, beside the norm of their sum: terms may cancel."""
    if layer.row.kernel not in ("cp", "cp4") or not layer.factors:
        return None
    terms = term_norms(layer.factors)
    whole = float(layer.after.norm())
    figure = go.Figure(
        go.Bar(
            x=list(range(1, len(terms) + 1)),
            y=[float(f"{term:.4g}") for term in terms],
            marker={"color": look("cp").colour},
            hovertemplate="term %{x}: %{y:.3g}<extra></extra>",
        )
    )
    figure.add_hline(whole, line={"color": GREY, "dash": "dot", "width": 1.5})
    figure.update_xaxes(title_text="term")
    figure.update_yaxes(title_text="norm; dotted: of the sum", rangemode="tozero")
    ratio = float(terms.square().sum().sqrt()) / max(whole, 1e-30)
    ends = f"{terms[0]:.3g} to {terms[-1]:.3g}; of their sum {whole:.3g}"
    alt = f"Norms of the {len(terms)} terms of {layer.row.name}, {ends}."
    return Plot(figure, alt, f"CP's terms: together {ratio:.2f} times the norm of their sum")


def term_norms(factors: Sequence[Tensor]) -> Tensor:
    """Return the norm of each term, descending: inputs (r, i), depthwise (r, 1, h, w), outputs (o, r)."""
    first, *middle, last = (factor.double() for factor in factors)
    norms = first.flatten(1).norm(dim=1)
    for factor in middle:
        norms = norms * factor.flatten(1).norm(dim=1)
    columns = last.flatten(1).unflatten(1, (-1,)).norm(dim=0)
    groups = len(norms) // len(columns)  # in each group the outputs see their own terms
    if groups > 1:
        columns = last.flatten(1).unflatten(0, (groups, -1)).norm(dim=1).flatten()
    return (norms * columns).sort(descending=True).values


def tree(layer: Layer) -> Plot | None:
    """Draw the dimension tree of a hierarchical Tucker decomposition with the rank of each edge."""
    if layer.row.kernel != "ht":
        return None
    nested, ranks = dimension_tree(layer.row.spec["tree"], 4), layer.row.spec["ranks"]
    places: dict[Tree, tuple[float, int]] = {}
    leaves = [node for node in post_order(nested) if isinstance(node, int)]

    def place(node: Tree, depth: int) -> float:
        x = float(leaves.index(node)) if isinstance(node, int) else sum(place(part, depth + 1) for part in node) / 2
        places[node] = (x, -depth)
        return x

    place(nested, 0)
    figure, said, style = go.Figure(), [], look("ht")
    for node, (x, y) in places.items():
        if not isinstance(node, int):
            for part in node:
                figure.add_scatter(
                    x=[x, places[part][0]], y=[y, places[part][1]], mode="lines", line={"color": GREY}, hoverinfo="skip"
                )
    for node, (x, y) in places.items():
        name = ", ".join(AXES[mode] for mode in sorted(modes(node)))
        rank = edge_rank(node, ranks, tuple(layer.after.shape)) if y else None
        words = f"{'all' if not y else name}{'' if rank is None else f': {rank}'}"
        figure.add_scatter(
            x=[x],
            y=[y],
            mode="markers+text",
            text=[words],
            textposition="bottom center" if isinstance(node, int) else "top center",
            marker={"size": 14, "color": style.colour, "symbol": style.symbol},
            hovertemplate=f"{name}{'' if rank is None else f'<br>rank {rank}'}<extra></extra>",
            cliponaxis=False,
        )
        said.append(words)
    figure.update_xaxes(visible=False, range=[-0.6, 3.6])
    figure.update_yaxes(visible=False, range=[min(y for _, y in places.values()) - 0.6, 0.5])
    figure.update_layout(height=300, showlegend=False)
    return Plot(
        figure, f"Dimension tree of {layer.row.name} with ranks: {'; '.join(said)}.", "Dimension tree and its ranks"
    )


def edge_rank(node: Tree, ranks: Sequence[int], shape: tuple[int, ...]) -> int:
    """Return the rank of the edge above a node: of inputs, of inputs and height, of outputs; else the axis' length."""
    side = modes(node)
    if len(side) == 2:
        return ranks[1]
    alone = next(iter(side if len(side) == 1 else set(range(4)) - side))
    return {1: ranks[0], 0: ranks[2]}.get(alone, shape[alone])
