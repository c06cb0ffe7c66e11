"""Turn a layer into a sequence of a few plain layers."""

from .compose import compose as compose, grouped_weight as grouped_weight
from .cp import JOINT as JOINT, SEPARABLE as SEPARABLE
from .scheme import Scheme as Scheme, Shape as Shape
from .sequence import fill as fill, price as price, shell as shell, weight_shapes as weight_shapes
from .specs import (
    Candidate as Candidate,
    Limits as Limits,
    Spec as Spec,
    check_spec as check_spec,
    count as count,
    distinct as distinct,
    one_of as one_of,
    truth as truth,
)
from .spectra import grid as grid, rounded as rounded
from .svd import CHANNEL as CHANNEL, SPATIAL as SPATIAL
