"""`python -m experiments.frequency RUN ...`: one Markdown page from the folders of runs with --frequency."""

import shlex
import sys
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated

import tyro

from .config import Compression, Data, Network, Training

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
the row; a convolution also in a pattern of its own for each filter (`layers/frequency.py`).
`dft` is the Hartley transform, the real form of the discrete Fourier transform, as in every real network.
Top-1 in percent on the test images, in brackets the 95 % Wilson interval; the epoch kept is the best on the validation
images; one run each.  Published: what the layers scored that these correct, in mir-pias/cnn_compression (LeNet, as many
parameters; its epochs are not recorded).
"""


@dataclass(frozen=True)
class Page:
    """Write the table of complete runs with --frequency, with the commands that repeat them."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """run folders"""
    out: Path | None = None
    """the Markdown file (default: standard output)"""


def dataset_name(config: dict) -> str:
    """The dataset, or the name of the folder that it is."""
    return Path(config["data_root"]).name if config["dataset"] == "folder" else config["dataset"]


def command(config: dict) -> str:
    """The command line of a run, with words in capitals for paths."""
    words = ["python -m experiments.run"]
    places = {"data_root": "DIR", "checkpoint": "DENSE"}
    for group in (Network, Data, Compression, Training):
        default = group()
        for name in (field.name for field in fields(group)):
            value = config[name]
            given = list(value) if isinstance(value, (list, tuple)) else [value]
            if value is None or given == _as_list(getattr(default, name)):
                continue
            values = [] if value is True else [places.get(name, str(v)) for v in given]
            words.append(" ".join([f"--{name.replace('_', '-')}", *map(shlex.quote, values)]))
    return " ".join(words)


def _as_list(value: object) -> list:
    return list(value) if isinstance(value, tuple) else [value]


def page(results: list[dict]) -> str:
    """The page from the contents of results.json of each run."""
    from .report import wilson  # late: --help needs neither pandas nor plotly

    parts, names = [HEADER], list(dict.fromkeys(dataset_name(r["config"]) for r in results))
    for name in names:
        some = [r for r in results if dataset_name(r["config"]) == name]
        images, rows = some[0]["test_images"], {}
        for result in some:
            config, dense = result["config"], result["rows"][0]
            for row in result["rows"]:
                layers = "none" if row is dense else config["layers"]
                low, high = wilson(row["top1"], images)
                score = PUBLISHED.get(("cifar10" if name.startswith("cifar10") else name, layers, row["kernel"]))
                epochs = "given" if row is dense and config["checkpoint"] else config["max_epochs"]
                cells = [
                    *(layers, row["kernel"], epochs, f"{row['top1']:.2f} ({low:.1f} to {high:.1f})"),
                    *("" if score is None else f"{score:.1f}", f"{row['params']:,}"),
                    f"{row['params'] / dense['params']:.1%}",
                ]
                rows[layers, row["kernel"], epochs] = cells
        order = ("none", "linear", "conv", "all")
        lines = sorted(rows.values(), key=lambda cells: order.index(cells[0]))  # stable: kernels as they came
        table = [
            f"## {name}, {images:,} test images\n",
            "| layers | kernel | epochs | top-1 | published | parameters | of dense |",
            "|---|---|--:|--:|--:|--:|--:|",
            *("| " + " | ".join(map(str, cells)) + " |" for cells in lines),
        ]
        parts.append("\n".join(table) + "\n")
    commands = "\n".join(f"    {line}" for line in dict.fromkeys(command(r["config"]) for r in results))
    versions = {f"torch {r['environment']['torch']}, {r['environment']['gpu'] or 'CPU'}" for r in results}
    parts.append(
        f"## Again\n\nDIR is the dataset's folder, DENSE the dense.safetensors of a run before, which spares training "
        f"it again; {', '.join(sorted(versions))}.\n\n{commands}\n    python -m experiments.frequency runs/* --out FILE\n"
    )
    return "\n".join(parts)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; 2 when a folder is not a complete run with --frequency."""
    config = tyro.cli(Page, prog="python -m experiments.frequency", args=arguments)
    from layers.plan import write_text

    from .record import COMPLETE, read_results

    results = []
    for folder in config.runs:
        found = read_results(folder) if (folder / COMPLETE).is_file() else None
        if found is None or not found["config"].get("frequency"):
            sys.stderr.write(f"error: run must be the folder of a complete run with --frequency, got {folder}\n")
            return 2
        results.append(found)
    text = page(results)
    if config.out is None:
        sys.stdout.write(text)
    else:
        write_text(config.out, text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
