"""`python -m experiments.run`: train, compress with each kernel, fine-tune, compare, report."""

import sys

import tyro

from .config import Config


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; 0 when the report is written, 2 when the input is refused."""
    config = tyro.cli(Config, prog="python -m experiments.run", args=arguments, config=(tyro.conf.OmitArgPrefixes,))
    from . import pipeline, tracking  # late: torch and Lightning are not needed to answer --help

    try:
        job = None if pipeline.finished(config) else pipeline.prepare(config)
    except (ValueError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    if job is not None:
        with tracking.Tracker(config, job.folder) as tracker:
            pipeline.execute(job, tracker)
    try:
        pipeline.present(config)
    except ValueError as error:  # a complete run whose results cannot be read
        sys.stderr.write(f"error: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
