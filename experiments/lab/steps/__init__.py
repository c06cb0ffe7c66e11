"""What a compression is made of: a list of steps, each a file and a row of STEPS."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from layers import METHODS

from .batchnorm import Batchnorm
from .binary import Binary
from .bits import Bits
from .channels import Channels
from .finetune import Finetune
from .half import Bf16, Half
from .int8 import Int8
from .kernel import AUTO, Kernel
from .weights import Weights


@dataclass(frozen=True)
class Row:
    """A step, what may not stand before it in a list, and what it changes.

    Args:
        step: a frozen dataclass; its fields are its options, those without a default by their place.
        never_after: step, or `kernel` for all of them -> why not: the step of this row must stand before it.
        last: nothing can follow it.
        factors: it takes plain layers and factors, no coefficients.
        reshapes: what it makes is computed in another way, and so takes another time.
    """

    step: type[Any]
    never_after: Mapping[str, str] = field(default_factory=dict)
    last: bool = False
    factors: bool = False
    reshapes: bool = False


HELD = {"weights": "whose zeros would be lost", "binary": "whose two values would be lost"}
STEPS = {
    "channels": Row(Channels, HELD, factors=True, reshapes=True),
    "weights": Row(Weights, {"binary": "whose weights are all of one size"}, factors=True),
    "finetune": Row(Finetune),
    "batchnorm": Row(Batchnorm),
    "binary": Row(Binary, {"binary": "which is done already"}, factors=True),
    "bits": Row(Bits, {"binary": "whose weights have one bit already"}, last=True, factors=True),
    "half": Row(Half, last=True, factors=True, reshapes=True),
    "bf16": Row(Bf16, last=True, factors=True, reshapes=True),
    "int8": Row(Int8, last=True, reshapes=True),
    **dict.fromkeys(
        (*METHODS, AUTO), Row(Kernel, HELD | {"kernel": "whose factors no other kernel takes"}, reshapes=True)
    ),
}
