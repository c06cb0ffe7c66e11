"""`python -m experiments.run`: train, compress with each kernel, fine-tune, compare, report."""

import logging
import sys

from ..lab.command import door
from ..lab.config import Config
from ..lab.refusals import check_effects, check_options


def act(config: Config) -> None:
    """Make the run unless it is complete, and print its table."""
    check_options(config)
    check_effects(config)
    from ..lab.recipes import job
    from ..lab.training.distributed import rank
    from . import measure, pipeline

    logging.basicConfig(format="%(message)s")  # what models and datasets say of themselves, on stderr
    logging.getLogger("experiments").setLevel(logging.INFO if rank() == 0 else logging.WARNING)
    if not job.finished(config):
        pipeline.execute(job.prepare(config))
    if rank() == 0:
        measure.present(config)


main = door("run", Config, act, resumes=True)

if __name__ == "__main__":
    sys.exit(main())
