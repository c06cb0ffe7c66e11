"""Store a weight as its code: weight = decode(code)."""

from ..loader import row_frequencies as row_frequencies
from .linear import TransformLinear as TransformLinear
from .ordering import place_type as place_type, smooth_order as smooth_order
from .parametrisation import (
    Coded as Coded,
    Decoded as Decoded,
    check_plain_weights as check_plain_weights,
    code as code,
    filled as filled,
    fold as fold,
    is_coded as is_coded,
)
from .transform import SELECTIONS as SELECTIONS, Transform as Transform
