"""How few numbers hold a weight: variance explained by n coefficients, and singular values before and after."""

from torch import Tensor

from layers.factored import spectrum

from ..lab.reporting.page import Plot
from ..lab.reporting.page.curves import Line, lines
from ..lab.reporting.page.theme import logarithmic
from .filters import TRANSFORMS, transformed
from .source import Layer

POINTS = 60  # of a curve
LARGEST = 4_000_000  # numbers of a weight that is transformed along all its axes


def explained(layer: Layer) -> Plot | None:
    """Draw the share of the variance in the n largest coefficients of each transform, and in n numbers of an SVD."""
    w = layer.after if layer.before is None else layer.before.float()
    if w.numel() > LARGEST:
        return None
    shown = [_curve("weights", w.flatten().square())]
    for kernel in TRANSFORMS:
        x = transformed(w, kernel, [axis for axis in range(w.ndim) if w.shape[axis] > 1])
        shown.append(_curve(kernel, x.flatten().square()))
    matrix = w.flatten(1)
    squares = spectrum(matrix[None])
    each = sum(matrix.shape) / matrix.numel()  # numbers of a term of the SVD
    shares = (squares.cumsum(0) / squares.sum().clamp_min(1e-300)).tolist()
    terms = [(each * (n + 1), share) for n, share in enumerate(shares) if each * (n + 1) <= 1]
    shown.append(Line("svd", [x for x, _ in terms], [y for _, y in terms], mode="lines"))
    figure = lines(shown, "numbers kept, as a fraction of all", "variance explained", 340, legend=True)
    figure.update_yaxes(tickformat=".0%")
    figure.update_xaxes(tickformat=".0%")
    figure.update_layout(margin={"t": 64})
    said = "; ".join(f"{line.name} {_at(line, 0.25):.0%}" for line in shown)
    return Plot(
        figure, f"Variance of {layer.row.name} explained by a quarter of the numbers: {said}.", "Variance explained"
    )


def _curve(name: str, energy: Tensor) -> Line:
    total = energy.double().sort(descending=True).values.cumsum(0)
    total = total / total[-1].clamp_min(1e-300)
    n = len(total)
    places = sorted({round(n * step / POINTS) - 1 for step in range(1, POINTS + 1)} - {-1})
    return Line(name, [(place + 1) / n for place in places], [float(total[place]) for place in places], mode="lines")


def _at(line: Line, x: float) -> float:
    """Return what the curve has at x, or at the last point before it."""
    return next((y for at, y in zip(reversed(line.x), reversed(line.y)) if at <= x + 1e-9), 0.0)


def singular_values(layer: Layer) -> Plot:
    """Draw the singular values of the weight as outputs x all else, before and after."""
    parts = {"after": layer.after} if layer.before is None else {"before": layer.before, "after": layer.after}
    shown = []
    for when, w in parts.items():
        values = spectrum(w.flatten(1)[None]).sqrt()
        kept = values[values > 1e-6 * values[0].clamp_min(1e-30)].tolist()
        name = "dense, before" if when == "before" else f"{layer.row.kernel}, after"
        shown.append(Line(name, list(range(1, len(kept) + 1)), kept))
    figure = lines(shown, "number, from the largest", "singular value", 340, legend=True)
    logarithmic(figure, [value for line in shown for value in line.y])
    figure.update_layout(margin={"t": 48})
    said = "; ".join(f"{line.name} {len(line.y)} above rounding, from {line.y[0]:.3g}" for line in shown if len(line.y))
    return Plot(figure, f"Singular values of {layer.row.name}: {said}.", "Singular values")
