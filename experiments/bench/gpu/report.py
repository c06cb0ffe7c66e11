"""The page of a card: a table beside the CPU and dense networks, and a table of what was done once."""

import datetime
from collections.abc import Sequence

import torch
from rich.console import Console

from checks import require
from layers.network import write_text

from ...lab.progress import log
from ...lab.reporting.provenance import provenance
from ...lab.reporting.tables import Table, markdown, print_table
from ...lab.reporting.units import BYTES, digits, with_unit
from ...lab.runs.record import environment, processor
from ..row import LazyRow, Measured, Row, measure
from . import cases, stages
from .config import GpuBench
from .stages import Stage


def report(bench: GpuBench, command: str) -> None:
    """Measure, print and write; what could not be measured for want of a library is said."""
    there = bench.device == "cpu" or torch.cuda.is_available()
    require(there, "device", "none (torch.cuda.is_available() is False)", "a CUDA GPU, or --device cpu to try it out")
    notes: list[str] = []
    rows = [row for row in _rows(bench, notes) if bench.only in row.work]
    require(bool(rows), "only", bench.only, "part of a row's name")
    measured = []
    for row in rows:
        measured += measure([row], torch.get_num_threads(), bench.seconds)
        log(f"{measured[-1].work}: {measured[-1].ratio:.2f}")
    once = []
    for stage in (*stages.trainings(bench), *stages.pipeline(bench)):
        once.append(stage)
        log(f"{stage.work}: {stage.seconds:.1f} s")
    tables = _side_by_side(measured), _once(once)
    for table in tables:
        print_table(table, Console())
    Console().print(*notes, sep="\n", markup=False, highlight=False)
    if bench.out is not None:
        how = f"medians, ours and theirs in turn; {processor()}, {datetime.date.today().isoformat()}"
        made = provenance(command, environment(), how)
        told = "".join(f"{note}\n\n" for note in notes)
        text = (
            f"# On a GPU\n\n{made} Ratio: their time over ours.\n\n{told}{markdown(tables[0])}\n{markdown(tables[1])}"
        )
        bench.out.parent.mkdir(parents=True, exist_ok=True)
        write_text(bench.out, text)


def _rows(bench: GpuBench, notes: list[str]) -> list[Row | LazyRow]:
    """List the kernels' rows, if their peers are here, and the networks'; a note says what is missing."""
    networks = cases.network_cases(bench.device, bench.batch, bench.size)
    wanted = [row for row in networks if "spatial" not in row.work]  # two mixes of three: each is compiled twice
    try:
        return [*cases.kernel_cases(bench.device), *wanted]
    except ImportError as error:
        notes.append(
            f"Kernels were not measured: their peers must be installed (pip install -e '.[bench]'), got {error}."
        )
        return [*wanted]


def _side_by_side(measured: Sequence[Measured]) -> Table:
    header = ["work", "against", "ours, ms", "theirs, ms", "ratio"]
    cells = [[digits(1e3 * row.ours), digits(1e3 * row.theirs), f"{row.ratio:.2f}"] for row in measured]
    return Table(header, [[row.work, row.against, *own] for row, own in zip(measured, cells)], 2)


def _once(done: Sequence[Stage]) -> Table:
    def memory(stage: Stage) -> str:
        return "" if stage.memory is None else with_unit(stage.memory, BYTES)

    return Table(["done once", "s", "memory"], [[s.work, digits(s.seconds), memory(s)] for s in done])
