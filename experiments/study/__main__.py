"""`python -m experiments.study`: how well each kernel holds trained weights, and why; tables, figures, a summary."""

import sys

import tyro

from .config import Study


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; 0 when the summary is written, 2 when the input is refused."""
    study = tyro.cli(Study, prog="python -m experiments.study", args=arguments, config=(tyro.conf.OmitArgPrefixes,))
    from . import execute as carry_out  # late: torch and matplotlib are not needed to answer --help

    try:
        job = None if carry_out.finished(study) else carry_out.prepare(study)
    except (ValueError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    if job is not None:
        carry_out.execute(job)
    carry_out.present(study)
    return 0


if __name__ == "__main__":
    sys.exit(main())
