"""`python -m experiments.study`: how well each kernel holds trained weights, and why; tables, figures, a summary."""

import sys

from ..lab.command import door
from .config import Study


def act(study: Study) -> None:
    """Make the study unless it is complete, and print its summary."""
    from . import execute

    if not execute.finished(study):
        execute.execute(execute.prepare(study))
    execute.present(study)


main = door("study", Study, act)

if __name__ == "__main__":
    sys.exit(main())
