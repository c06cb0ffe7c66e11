"""Draw the figure of the first page from the record of ResNet-20, once for light pages, once for dark."""

from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt

from experiments.lab.reporting.peers import PEERS
from experiments.lab.reporting.style import kernel_style
from experiments.lab.results.result import read

TITLE = "ResNet-20 on CIFAR-10 (JPEG): top-1 in % at multiply-accumulates kept"
LABELS = {"auto": "mixed by layer (auto)", "cp": "CP", "spatial": "spatial SVD", "tucker": "Tucker-2", "ht": "H-Tucker"}
LABELS |= {"svd": "channel SVD", "BALF": "BALF, same images"}
COLORS = {"light": ("#1b1b1b", "#d5d5d5"), "dark": ("#e6e6e6", "#4a4a4a")}  # of text, of lines behind


def curves() -> dict[str, dict[float, float]]:
    """Kernel, or peer -> share of the multiply-accumulates kept -> top-1 of the record."""
    numbers = read("resnet20").numbers
    ours = {name: numbers[name] for name in LABELS if name in numbers}
    shown = {name: {float(s): found["top1"].mean for s, found in levels.items()} for name, levels in ours.items()}
    return shown | {peer.name: peer.top1 for peer in PEERS if peer.name in LABELS and peer.measured}


def draw(folder: Path) -> None:
    """Write front-light.svg and front-dark.svg; text stays text, so that the page's own font has it."""
    folder.mkdir(exist_ok=True)
    known = curves()
    style = {"svg.fonttype": "none", "svg.hashsalt": "front", "font.family": "sans-serif", "font.size": 12}
    for theme, (ink, faint) in COLORS.items():
        colors = {"text.color": ink, "axes.labelcolor": ink, "xtick.color": ink, "ytick.color": ink}
        with mpl.rc_context({**style, **colors, "axes.edgecolor": faint, "grid.color": faint}):
            figure, axes = plt.subplots(figsize=(8, 4.4), layout="constrained")
            for name, points in known.items():
                wide = {"linewidth": 4, "zorder": 1} if name == "auto" else {"linewidth": 1.8}
                look = {"color": "#8a8a8a", "marker": "x"} if name == "BALF" else kernel_style(name)
                shares, values = zip(*sorted(points.items()))
                axes.plot([100 * share for share in shares], values, markersize=6, label=LABELS[name], **look, **wide)
            axes.set(title=TITLE, ylim=(60, 90), xlim=(23, 72))
            axes.xaxis.set_major_formatter("{x:.0f} %")
            axes.grid(alpha=0.5)
            axes.spines[["top", "right"]].set_visible(False)
            axes.legend(frameon=False, loc="lower right", labelcolor=ink)
            figure.savefig(folder / f"front-{theme}.svg", transparent=True, metadata={"Date": None})
            plt.close(figure)
