"""Turn a layer into a sequence of a few plain layers."""

from .compose import compose as compose, grouped_weight as grouped_weight
from .cp import JOINT as JOINT, SEPARABLE as SEPARABLE
from .hierarchical_tucker import HT as HT
from .scheme import (
    LARGE as LARGE,
    Scheme as Scheme,
    Shape as Shape,
    candidates as candidates,
    in_range as in_range,
    weights as weights,
)
from .sequence import (
    sequence_cost as sequence_cost,
    set_weights as set_weights,
    shell as shell,
    weight_shapes as weight_shapes,
)
from .specs import (
    Form as Form,
    Spec as Spec,
    check_count as check_count,
    check_keys as check_keys,
    check_word as check_word,
    is_count as is_count,
)
from .spectra import grid as grid, rounded as rounded, spectrum as spectrum
from .svd import CHANNEL as CHANNEL, SPATIAL as SPATIAL
from .tucker import TUCKER as TUCKER
