"""`python -m experiments.sweep`: accuracy against cost for each kernel and selector, without a gradient step."""

import sys

import tyro

from .config import Sweep


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; 0 when the figure is drawn, 2 when the input is refused."""
    sweep = tyro.cli(Sweep, prog="python -m experiments.sweep", args=arguments, config=(tyro.conf.OmitArgPrefixes,))
    from rich.console import Console  # late: neither it nor torch is needed to answer --help

    from .points import execute

    console = Console(stderr=True)
    try:
        folder = execute(sweep, lambda words: console.print(words, soft_wrap=True, markup=False, highlight=False))
    except (ValueError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    Console().print(f"sweep.csv, sweep.png, sweep.pdf: {folder}", soft_wrap=True, highlight=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
