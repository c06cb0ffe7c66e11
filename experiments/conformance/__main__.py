"""`python -m experiments.conformance`: which layer takes which Conv2d option, how exactly, and what is refused."""

import sys
import warnings
from dataclasses import dataclass
from pathlib import Path

from ..lab.command import check_file, door


@dataclass(frozen=True)
class Conformance:
    """Build every kind of layer for every row and write the tables as Markdown."""

    out: Path = Path("docs/results/conformance.md")
    """the file to write"""


HEAD = """# Conformance

Every kind of layer against the dense convolution, in float64 and float32, contiguous and channels_last, as it is and
folded to a plain layer.  Factored layers (a few plain convolutions) and coded ones (a weight decoded from coefficients
or factors) have full rank and must equal the layer that they replace; frequency layers, drawn at random, must equal the
convolution with the weight that they stand for, dft and complex_shannon its complex one.

A number is the error bound that the cell meets, a power of ten: the largest difference of outputs in float64 over the
largest output.  A letter is a refusal, explained below.  {tally}

`tests/layers/test_layers.py` asserts the same cell by cell, and for geometries that hypothesis draws.

{made}
"""


def act(conformance: Conformance) -> int:
    """Build and write; 1 if a cell fails."""
    from layers.network import write_text

    from ..lab.reporting.provenance import command_of, provenance
    from ..lab.runs.record import environment
    from .cells import table

    out = conformance.out
    check_file(out)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Using padding=.same. with even kernel lengths")  # of the dense layer
        body, tally, failed = table()
    sample = "one layer and two images a cell, seed 0"
    made = provenance(command_of("conformance", conformance), environment(), sample)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_text(out, HEAD.format(tally=tally, made=made) + "\n" + body)
    sys.stdout.write(f"{out}: {tally}\n")
    return 1 if failed else 0


main = door("conformance", Conformance, act)

if __name__ == "__main__":
    sys.exit(main())
