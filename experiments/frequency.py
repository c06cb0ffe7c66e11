"""`python -m experiments.frequency RUN ...`: what `python -m experiments.compare --frequency RUN ...` does now."""

import sys

from .compare.__main__ import main as compare


def main(arguments: list[str] | None = None) -> int:
    """Compare the runs, as a page of frequency layers."""
    return compare(["--frequency", *(sys.argv[1:] if arguments is None else arguments)])


if __name__ == "__main__":
    sys.exit(main())
