"""`python -m experiments.run`: train, compress with each kernel, fine-tune, compare, report."""

import logging
import sys

import tyro

from ..lab.config import Config
from .arguments import spoken


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; 0 when the report is written, 2 when the input is refused."""
    words = spoken(sys.argv[1:] if arguments is None else arguments)
    config = tyro.cli(Config, prog="python -m experiments.run", args=words, config=(tyro.conf.OmitArgPrefixes,))
    from ..lab.recipes import job
    from ..lab.training import distributed
    from . import measure, pipeline  # late: torch and Lightning are not needed to answer --help

    logging.basicConfig(format="%(message)s")  # what models and datasets say of themselves, on stderr
    logging.getLogger("experiments").setLevel(logging.INFO if distributed.rank() == 0 else logging.WARNING)
    try:
        if not job.finished(config):
            pipeline.execute(job.prepare(config))
    except (ValueError, OSError) as error:  # in execute too: an image on disk may turn out to be corrupt
        sys.stderr.write(distributed.word(error))
        return 2
    try:
        if distributed.rank() == 0:
            measure.present(config)
    except ValueError as error:  # a complete run whose results cannot be read
        sys.stderr.write(f"error: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
