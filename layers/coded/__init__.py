"""Store a weight as its code: weight = decode(code)."""

from .linear import TransformLinear as TransformLinear
from .ordering import place_type as place_type
from .parametrisation import (
    Coded as Coded,
    Decoded as Decoded,
    code as code,
    filled as filled,
    fold as fold,
    is_coded as is_coded,
)
from .transform import SELECTIONS as SELECTIONS, Transform as Transform
