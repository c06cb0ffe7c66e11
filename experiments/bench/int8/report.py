"""`bench int8` from its options to its table."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import torch
from rich.console import Console
from rich.text import Text

from layers.network import write_text

from ...lab.progress import log
from ...lab.recipes.job import job_of_trained_network
from ...lab.reporting.provenance import command_of, provenance
from ...lab.reporting.tables import Table, markdown, print_table
from ...lab.reporting.units import counted
from ...lab.runs.record import environment, processor
from .config import Int8Bench, Int8Options
from .trials import FLOAT, Trial, check, installed, parts, trials


def report(bench: Int8Bench) -> None:
    """Measure, print and write.  ValueError for what cannot be measured."""
    config, options = bench.run(), bench.measurement
    check(options)
    before = torch.get_num_threads()
    torch.set_num_threads(options.threads)
    try:
        job = job_of_trained_network(config)
        calibrating, test = parts(job, options)
        sample = _sample(bench, len(calibrating.labels), len(test.labels))
        conditions = provenance(command_of("bench int8", bench), environment(), sample)
        with tempfile.TemporaryDirectory() as folder:
            measured = trials(job, options, calibrating, test, Path(folder), log)
    finally:
        torch.set_num_threads(before)
    table = Table(header(options), lines(measured, options.batches), 3)
    if options.out is not None:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        page = f"{markdown(table)}\n{conditions}\n"
        write_text(options.out, page if options.out.suffix == ".md" else _csv(measured, options.batches))
    print_table(table, Console())
    Console().print(Text(conditions, style="italic"))


def header(options: Int8Options) -> list[str]:
    """Name the columns."""
    speeds = [
        f"{words}, batch {batch}" for batch in options.batches for words in ("ms", "x its float32", "x dense float32")
    ]
    return ["network", "file", "runtime", "top-1", "agreement, %", "kB", "of dense float32", *speeds]


def lines(measured: Sequence[Trial], batches: Sequence[int]) -> list[list[str]]:
    """Return a row for each file in each runtime; speeds beside the float32 file in the same runtime."""
    rows = []
    for trial in measured:
        same = [other for other in measured if other.file == FLOAT and other.runtime == trial.runtime]
        own, dense = next(other for other in same if other.network == trial.network), same[0]
        row = [trial.network, trial.file, trial.runtime, f"{trial.top1:.2f}", f"{trial.agreement:.2f}"]
        row += [f"{trial.bytes / 1000:.1f}", f"1/{dense.bytes / trial.bytes:.1f}"]
        for batch in batches:
            busy = " busy" * trial.seconds[batch].busy
            times = [trial.times(other, batch) for other in (own, dense)]
            row += [f"{1000 * trial.seconds[batch].median:.3g}{busy}", *(f"{ratio:.2f}" for ratio in times)]
        rows.append(row)
    return rows


def _sample(bench: Int8Bench, calibrating: int, tested: int) -> str:
    options, config = bench.measurement, bench.run()
    source = "other test images" if options.halves else "training images"
    versions = ", ".join(f"{name} {_version(name)}" for name in (*installed(), *_nncf(options)))
    return (
        f"{config.network.model} on {tested:,} test images; scales from {calibrating:,} "
        f"{source}, seed {options.seed}; medians of {counted(options.rounds, 'round')} with every file in turn, "
        f"{counted(options.threads, 'thread')} of {processor()}; {versions}"
    )


def _nncf(options: Int8Options) -> list[str]:
    return ["nncf"] if "nncf" in options.methods else []


def _version(name: str) -> str:
    from importlib.metadata import version

    return version(name)


def _csv(measured: Sequence[Trial], batches: Sequence[int]) -> str:
    rows = []
    for trial in measured:
        row = {key: value for key, value in trial._asdict().items() if key != "seconds"}
        rows.append(row | {f"seconds_{batch}": trial.seconds[batch].median for batch in batches})
    return pd.DataFrame(rows).to_csv(index=False)
