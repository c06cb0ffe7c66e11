"""Draw the figure of the first page from the table of docs/results/planner.md, once for light pages, once for dark."""

import re
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt

from experiments.lab.reporting.style import kernel_style

HERE = Path(__file__).parent
TITLE = "ResNet-20 on CIFAR-10 (JPEG): top-1 in % at multiply-accumulates kept"
LABELS = {"auto": "mixed by layer (auto)", "cp": "CP", "spatial": "spatial SVD", "tucker": "Tucker-2", "ht": "H-Tucker"}
LABELS |= {"svd": "channel SVD", "BALF": "BALF, same images"}
COLORS = {"light": ("#1b1b1b", "#d5d5d5"), "dark": ("#e6e6e6", "#4a4a4a")}  # of text, of lines behind


def curves() -> tuple[list[float], dict[str, list[float]], dict[str, float]]:
    """(shares of the MACs, top-1 at each by kernel, that of BALF by share in words) as the page has them."""
    page = (HERE / "results" / "planner.md").read_text(encoding="utf-8")
    (head,) = re.findall(r"^\| top-1 at MACs kept.*", page, re.MULTILINE)
    shares = [float(share) for share in re.findall(r"(\d+) %", head)]
    rows = re.findall(r"^\| (\w+), `loss` \|(.*)\|$", page, re.MULTILINE)
    peers = re.findall(r"^\| macs=([\d.]+) .*BALF ([\d.]+)", page, re.MULTILINE)
    return shares, {name: [float(cell) for cell in cells.split("|")] for name, cells in rows}, dict(peers)


def draw(folder: Path) -> None:
    """Write front-light.svg and front-dark.svg; text stays text, so that the page's own font has it."""
    folder.mkdir(exist_ok=True)
    shares, kernels, peers = curves()
    style = {"svg.fonttype": "none", "svg.hashsalt": "front", "font.family": "sans-serif", "font.size": 12}
    for theme, (ink, faint) in COLORS.items():
        colors = {"text.color": ink, "axes.labelcolor": ink, "xtick.color": ink, "ytick.color": ink}
        with mpl.rc_context({**style, **colors, "axes.edgecolor": faint, "grid.color": faint}):
            figure, axes = plt.subplots(figsize=(8, 4.4), layout="constrained")
            for name, values in kernels.items():
                wide = {"linewidth": 4, "zorder": 1} if name == "auto" else {"linewidth": 1.8}
                axes.plot(shares, values, markersize=6, label=LABELS[name], **kernel_style(name), **wide)
            given = sorted((100 * float(share), float(value)) for share, value in peers.items())
            axes.plot(*zip(*given), "--x", color="#8a8a8a", label=LABELS["BALF"])
            axes.set(title=TITLE, ylim=(60, 90), xlim=(min(shares) - 2, max(shares) + 2))
            axes.xaxis.set_major_formatter("{x:.0f} %")
            axes.grid(alpha=0.5)
            axes.spines[["top", "right"]].set_visible(False)
            axes.legend(frameon=False, loc="lower right", labelcolor=ink)
            figure.savefig(folder / f"front-{theme}.svg", transparent=True, metadata={"Date": None})
            plt.close(figure)
