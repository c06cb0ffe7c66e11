"""`python -m experiments.run`: train, compress with each kernel, fine-tune, compare, report."""

import logging
import sys
from dataclasses import replace

from ..lab.command import door
from ..lab.config import Config
from ..lab.refusals import check_effects, check_options


def act(config: Config) -> None:
    """Make the run, with each of the seeds, unless it is complete; print its table."""
    check_options(config)
    check_effects(config)
    from ..lab.training.distributed import rank
    from . import measure

    logging.basicConfig(format="%(message)s")  # what models and datasets say of themselves, on stderr
    logging.getLogger("experiments").setLevel(logging.INFO if rank() == 0 else logging.WARNING)
    seeds, training, output = config.output.seeds, config.training, replace(config.output, seeds=())
    configs = [replace(config, training=replace(training, seed=seed), output=output) for seed in seeds] or [config]
    for run in configs:
        make(run)
    if len(configs) > 1:
        measure.present_seeds(configs)


def make(config: Config) -> None:
    """Make one run unless it is complete, and print its table."""
    from ..lab.recipes import job
    from ..lab.training.distributed import rank
    from . import measure, pipeline
    from .export import export_networks

    if not job.finished(config):
        pipeline.execute(job.prepare(config))
    if rank() == 0:
        measure.present(config)
        for path in export_networks(config, config.output.export) if config.output.export else ():
            sys.stdout.write(f"exported: {path}\n")


main = door("run", Config, act, resumes=True)

if __name__ == "__main__":
    sys.exit(main())
