"""One Markdown page from runs with --frequency, beside what was published of such layers."""

from pathlib import Path
from typing import Any

from ..lab.reporting.provenance import command
from ..lab.reporting.style import wilson
from ..lab.reporting.tables import Table, markdown

PUBLISHED = {  # top-1 of LeNet in mir-pias/cnn_compression, models_datasets.csv; "shannon" is its RealShannon
    ("mnist", "conv", "dct"): 63.7,
    ("mnist", "conv", "dst"): 69.0,
    ("mnist", "conv", "shannon"): 96.6,
    ("cifar10", "linear", "dct"): 61.6,
    ("cifar10", "linear", "dft"): 64.5,
    ("cifar10", "conv", "shannon"): 46.8,
    ("cifar10", "all", "dct"): 27.4,
}

HEADER = """# Frequency layers from scratch

LeNet-5 of linear, convolutional or all layers whose weights are rows of a transform, each trained in the frequency of
the row; a convolution also in a pattern of its own for each filter (`layers/frequency/modules.py`).
`dft` is the Hartley transform, the real form of the discrete Fourier transform, as in every real network.
Top-1 in percent on the test images, in brackets the 95 % Wilson interval; the epoch kept is the best on the validation
images; one run each.  Published: what the layers scored that these correct, in mir-pias/cnn_compression (LeNet, as many
parameters; its epochs are not recorded).
"""

ROWS = ("dct", "dst", "dft", "dht", "shannon", "complex_shannon")

AGAIN = """## Again

DIR is the dataset's folder; FILE, the dense.safetensors of a run before, spares training the dense network again, and
without it the command trains it too; {machines}.

{commands}
    python -m experiments.compare --frequency runs/* --out PAGE
"""


Network = tuple[str, str, str]  # its layers, kernel and epochs


def dataset_name(config: dict[str, Any]) -> str:
    """Return the dataset, or the name of the folder that it is."""
    return Path(config["data_root"]).name if config["dataset"] == "folder" else config["dataset"]


def lines(result: dict[str, Any], published: str) -> dict[Network, list[str]]:
    """Map (layers, kernel, epochs) to the cells of each network of a run."""
    config, dense = result["config"], result["rows"][0]
    cells: dict[Network, list[str]] = {}
    for row in result["rows"]:
        layers, epochs = config["layers"], str(config["max_epochs"] or "default")
        if row is dense:
            layers, epochs = "none", "given" if config["checkpoint"] else epochs
        low, high = wilson(row["top1"], result["test_images"])
        score, share = PUBLISHED.get((published, layers, row["network"])), row["params"] / dense["params"]
        top1 = f"{row['top1']:.2f} ({low:.1f} to {high:.1f})"
        rest = ["" if score is None else f"{score:.1f}", f"{row['params']:,}", f"{share:.1%}"]
        cells[layers, row["network"], epochs] = [layers, row["network"], epochs, top1, *rest]
    return cells


def page(results: list[dict[str, Any]]) -> str:
    """Return the page from the contents of results.json of each run."""
    order = [(layers, kernel) for layers in ("none", "linear", "conv", "all") for kernel in ("dense", *ROWS)]
    header = ["layers", "network", "epochs", "top-1", "published", "parameters", "of dense"]
    parts = [HEADER]
    for name in dict.fromkeys(dataset_name(result["config"]) for result in results):
        of_dataset = [result for result in results if dataset_name(result["config"]) == name]
        rows: dict[Network, list[str]] = {}
        for result in of_dataset:
            rows |= lines(result, "cifar10" if name.startswith("cifar10") else name)
        ordered = [rows[key] for key in sorted(rows, key=lambda key: order.index(key[:2]))]
        parts += [
            f"## {name}, {of_dataset[0]['test_images']:,} test images\n",
            markdown(Table(header, ordered, left=2)),
        ]
    commands = dict.fromkeys(f"    {command(result['config'])}" for result in results)
    machines = {f"torch {r['environment']['torch']}, {r['environment']['gpu'] or 'CPU'}" for r in results}
    return "\n".join([*parts, AGAIN.format(machines="; ".join(sorted(machines)), commands="\n".join(commands))])
