"""The figure of a sweep, as PNG and PDF: kernels on the left, selectors on the right, peers in both."""

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from ..lab.reporting.canvas import canvas, styled
from ..lab.reporting.peers import Peer
from ..lab.reporting.style import GREY, kernel_style, line_style
from .config import Sweep

NAMES = {"macs": "multiply-accumulates", "params": "parameters", "bytes": "bytes"}


@styled()
def draw(table: pd.DataFrame, beside: list[Peer], sweep: Sweep, tested: int, calibrated: int) -> Figure:
    """Draw top-1 on the test images against the fraction kept; a peer's points lie as far below dense as it reports."""
    curves, dense = sweep.curves, float(table.top1[table.kernel == "dense"].iloc[0])
    figure, axes = canvas(2, (8.2, 3.8), share_y=True)
    common = (curves.kernel[0], curves.selector[0])
    panels = {
        f"kernels, selector {common[1]}": [(kernel, common[1], kernel) for kernel in curves.kernel],
        f"selectors, kernel {common[0]}": [(common[0], selector, selector) for selector in curves.selector],
    }
    for ax, (title, lines) in zip(axes, panels.items()):
        ax.axhline(dense, color=GREY, linewidth=1, linestyle=":", label=f"dense, {dense:.2f} %")
        for number, (kernel, selector, label) in enumerate(lines):
            line = table[(table.kernel == kernel) & (table.selector == selector)].sort_values("kept")
            style = kernel_style(label) if label in curves.kernel else line_style(number)
            ax.plot(line.kept, line.top1, label=label, **style)
        for number, peer in enumerate(beside):
            fractions = sorted(peer.top1)
            shifted = [peer.top1[fraction] - peer.dense + dense for fraction in fractions]
            marker = "x+*1"[number % 4]
            ax.plot(fractions, shifted, color=GREY, marker=marker, linestyle="--", linewidth=0.8, label=peer.label)
        ax.set_xlabel(f"{NAMES[curves.metric]} kept")
        ax.xaxis.set_major_formatter(PercentFormatter(1, 0))
        ax.set_title(title)
        ax.legend(loc="lower right")
    axes[0].set_ylabel(f"top-1 on {tested:,} test images, %")
    shift = "; peers as far below dense as they report" if beside else ""
    made = f"{calibrated:,} calibration images, {'with' if curves.refit else 'without'} refit, no gradient step"
    figure.suptitle(f"{sweep.network.model} on {sweep.data.dataset}: {made}{shift}")
    return figure
