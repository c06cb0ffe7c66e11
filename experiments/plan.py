"""`python -m experiments.plan`: what `experiments.run` would make of each layer, at what cost; nothing is trained."""

import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from .lab.command import check_file, door
from .lab.config import Compression, Config, Data, Measurement, Network, Tracking, Training
from .lab.refusals import check_effects

if TYPE_CHECKING:
    from rich.console import Console

    from layers import Plan

    from .lab.reporting.tables import Table


@dataclass(frozen=True)
class Output:
    """where the plan goes"""

    out: Path | None = None
    """a file for the plan of the one --kernel, as JSON"""


@dataclass(frozen=True)
class DryRun:
    """Choose kernels and ranks for a trained network and print the plan: nothing is trained, and nothing else written.

    Takes the options of experiments.run; those of training say nothing here, but for the seed.
    """

    network: Network = field(default_factory=Network)
    data: Data = field(default_factory=Data)
    compression: Compression = field(default_factory=lambda: Compression(("auto",)))
    training: Training = field(default_factory=Training)
    measurement: Measurement = field(default_factory=Measurement)
    tracking: Tracking = field(default_factory=Tracking)
    output: Output = field(default_factory=Output)

    def run(self) -> Config:
        """Return the run whose plan this is, without its training."""
        training = replace(self.training, max_epochs=None, finetune_epochs=0)
        steps = self.compression if not self.compression.compress else replace(self.compression, kernel=())
        return Config(self.network, self.data, steps, training, self.measurement)


def act(dry_run: DryRun) -> None:
    """Print the plan of each --kernel, and write that of one alone."""
    from rich.console import Console

    from checks import require

    from .lab.recipes.job import job_of_trained_network
    from .lab.recipes.rows import planned, said
    from .lab.steps.kernel import predicted

    out, console = dry_run.output.out, Console()
    if out is not None:
        require(len(dry_run.compression.kernel) == 1, "kernel", dry_run.compression.kernel, "one alone with --out")
        check_file(out)
    require(not dry_run.compression.frequency, "frequency", True, "left out: such networks are trained, not planned")
    check_effects(replace(dry_run.run(), training=Training()))
    job = job_of_trained_network(dry_run.run())
    require(len(job.rows) > 0, "kernel", dry_run.compression.kernel, "one or more, or --prune-channels, to plan")
    console.print(f"images: {job.dataset.preprocessing}\n", soft_wrap=True, markup=False, highlight=False)
    shop = job.workshop()
    for network, steps in job.rows.items():
        plan, words = planned(steps, shop), said(steps, job.calibration_images)
        console.print(f"{network}: {words}\n", soft_wrap=True, markup=False, highlight=False)
        print_plan(plan, console)
        for name, before, after in zip(plan.before._fields, plan.before, plan.after):
            console.print(f"{name}: {after:,} of {before:,}, {after / before:.1%}", markup=False, highlight=False)
        if (rise := predicted(plan)) is not None:
            console.print(f"predicted rise of the loss, before any refit: {rise:.4g}", markup=False, highlight=False)
        if out is not None:
            out.parent.mkdir(parents=True, exist_ok=True)
            plan.save(out)


def print_plan(plan: "Plan", console: "Console") -> None:
    """Print the plan's own text where it fits the terminal, else the same as a table that does."""
    from .lab.reporting.tables import FORMAT, print_table

    text = str(plan)
    if FORMAT.get() == "text" and max(map(len, text.splitlines())) <= console.width:
        console.print(text, soft_wrap=True, markup=False, highlight=False)
    else:
        print_table(plan_table(plan), console)


def plan_table(plan: "Plan") -> "Table":
    """Return the plan as a table: layer and kernel, spec or why it stays dense, what is kept of each cost, error."""
    from .lab.reporting.tables import Table
    from .lab.reporting.units import COUNTS, SECONDS, digits, unit_of

    frame, rows = plan.to_frame(), []
    known = {"params": ("params", COUNTS), "macs": ("MACs", COUNTS), "seconds": ("time", SECONDS)}
    costs = {key: names for key, names in known.items() if f"{key}_after" in frame}
    # the unit of the layers: the total, in the last row, would make them fractions of a thousand
    units = {key: unit_of(frame[f"{key}_before"].iloc[:-1], scale) for key, (_, scale) in costs.items()}
    for name, row in frame.iterrows():
        cells = [f"{name}\n{row['kernel']}", row["spec"] or row["reason"]]
        for key, unit in units.items():
            before, after = row[f"{key}_before"], row[f"{key}_after"]
            cells.append(f"{digits(after / unit.size)}\n{after / before:.0%}" if before else "")
        rows.append([*cells, f"{row['error']:.3g}" if row["error"] > 0 else ""])
    heads = [f"{title}\n{units[key].sign}".rstrip() for key, (title, _) in costs.items()]
    return Table(["layer", "spec", *heads, "error"], rows, 2)


main = door("plan", DryRun, act)

if __name__ == "__main__":
    sys.exit(main())
