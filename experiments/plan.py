"""`python -m experiments.plan`: what `experiments.run` would make of each layer, at what cost; nothing is trained."""

import sys
from dataclasses import dataclass, field, replace
from pathlib import Path

import tyro

from .lab.config import Compression, Config, Data, Measurement, Network, Tracking, Training


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
        """The run whose plan this is, without its training."""
        training = replace(self.training, max_epochs=None, finetune_epochs=0)
        return Config(self.network, self.data, self.compression, training, self.measurement)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; 0 when the plan is printed, 2 when the input is refused."""
    options = (tyro.conf.OmitArgPrefixes,)
    asked = tyro.cli(DryRun, prog="python -m experiments.plan", args=arguments, config=options)
    from rich.console import Console  # late: neither it nor torch is needed to answer --help

    from checks import require

    from .lab.recipes.recipe import from_dense, predicted
    from .lab.recipes.trained import look_up

    out, console = asked.output.out, Console()
    try:
        job = look_up(asked.run())
        if out is not None:
            require(len(job.recipes) == 1, "kernel", asked.compression.kernel, "one alone with --out")
            require(not out.is_dir(), "out", str(out), "a file for the plan, not a folder")
        thin = job.thin()
        images = job.calibration(thin.model)
        for kernel, how in job.recipes.items():
            plan = how.plan(thin.model, job.example, images.stats if images is not None and how.calibrated else None)
            plan = from_dense(plan, thin, job.model, job.example)
            console.print(f"{kernel}: {how.words(job.calibration_images)}\n", soft_wrap=True, highlight=False)
            console.print(str(plan), soft_wrap=True, markup=False, highlight=False)
            for name, before, after in zip(plan.before._fields, plan.before, plan.after):
                console.print(f"{name}: {after:,} of {before:,}, {after / before:.1%}", highlight=False)
            if (rise := predicted(plan)) is not None:
                console.print(f"predicted rise of the loss, before any refit: {rise:.4g}", highlight=False)
            if out is not None:
                out.parent.mkdir(parents=True, exist_ok=True)
                plan.save(out)
    except (ValueError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
