"""The stages of a study: prepare (all that can be refused is refused here), execute, present."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import torch
from rich.console import Console
from rich.markdown import Markdown

from checks import require
from layers.network import write_text

from ..lab.progress import Pace
from ..lab.reporting.page import render
from ..lab.reporting.tables import FORMAT
from ..lab.runs import record
from . import figures, page, summary, tables
from .config import Study
from .measuring.clock import timed_weight, times
from .measuring.measure import Tables, measure
from .weights import Origin, source, train, weights

SECONDS = 15.0  # no round of the timing begins later


class Prepared(NamedTuple):
    """A checked study and what it names."""

    study: Study
    folder: Path
    source: Origin


def finished(study: Study) -> bool:
    """Whether this study is complete and need not be repeated."""
    return (study.output.out / study.name / record.COMPLETE).is_file() and not study.output.force


def prepare(study: Study) -> Prepared:
    """Look everything up; ValueError in one sentence for what is wrong, before anything is written."""
    options = study.measurement
    require(len(options.fractions) > 0, "fractions", options.fractions, "one or more numbers above 0 and below 1")
    for fraction in options.fractions:
        require(0 < fraction < 1, "fractions", fraction, "above 0 and below 1")
    require(len(set(options.fractions)) == len(options.fractions), "fractions", options.fractions, "distinct")
    require(options.repeats >= 1, "repeats", options.repeats, "at least 1")
    require(options.least >= 2, "least", options.least, "at least 2")
    require(0 <= options.seed < 2**32, "seed", options.seed, "from 0 to below 2^32")
    studied_network = source(study)
    studied, _ = weights(studied_network.model, options.least)
    require(bool(studied), "least", options.least, f"no more than {study.network.model}'s largest weight has numbers")
    return Prepared(study, record.make_folder(study.output.out, study.name), studied_network)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Compute on one thread: to wake a second costs more than small layers give.  The caller's number is restored."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def execute(job: Prepared) -> None:
    """Train if need be, measure every layer, time the stages, write; results.json is written last."""
    console, (study, folder, network) = Console(stderr=True), job
    options = study.measurement
    (folder / record.COMPLETE).unlink(missing_ok=True)  # what is repeated is not complete
    if network.job is not None:
        console.print(f"training: {network.job.epochs} epochs", markup=False, highlight=False)
        train(network.job, folder)
    studied, skipped = weights(network.model, options.least)
    parts = []
    with _one_thread():
        pace = Pace(len(studied))
        for number, weight in enumerate(studied):
            console.print(f"{weight.name}: {pace(number)}", markup=False, highlight=False)
            parts.append(measure(weight, options, options.seed + number))
    results = Tables(*(pd.concat(table, ignore_index=True) for table in zip(*parts)))
    timed = timed_weight(studied)
    clock = pd.DataFrame() if timed is None else times(timed, SECONDS)
    facts = {
        "config": study.flat(),
        "environment": record.environment(),
        "source": network.words,
        "layers": [{"name": w.name, "kind": w.kind, "shape": list(w.w.shape)} for w in studied],
        "skipped": skipped,
        "timed": None if timed is None else {"name": timed.name, "shape": list(timed.w.shape)},
    }
    tables.write(study, results, clock, facts, folder)
    figures.write(results, clock, facts, folder)
    write_text(folder / "summary.md", summary.text(study, results, clock, facts))
    write_text(folder / "report.html", render(page.page(study, results, clock, facts)))
    record.write_json(folder / record.COMPLETE, facts)


def present(study: Study) -> None:
    """Print the summary of a complete study and where its tables and figures lie."""
    folder, console = study.output.out / study.name, Console()
    text = (folder / "summary.md").read_text(encoding="utf-8")
    plain = FORMAT.get() == "md"  # whose lines are the reader's to wrap
    console.print(text if plain else Markdown(text), soft_wrap=plain, markup=False, highlight=False)
    console.print(f"tables and figures: {folder}", soft_wrap=True, markup=False, highlight=False)
    if (shown := folder / "report.html").is_file():  # studies of before there was one are complete without
        console.print(f"report: {shown}", soft_wrap=True, markup=False, highlight=False)
