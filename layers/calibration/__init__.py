"""Measure what real images show of a network: second moments of inputs and gradients, statistics of BatchNorm."""

from .batchnorm import measure_batchnorm as measure_batchnorm, reestimate_batchnorm as reestimate_batchnorm
from .calibrate import calibrate as calibrate
from .eigenvalues import MOST_ROWS as MOST_ROWS
from .folding import fold_batchnorm as fold_batchnorm
from .moments import (
    Positions as Positions,
    draw as draw,
    inputs_at as inputs_at,
    joint_moments as joint_moments,
    outputs_at as outputs_at,
    second_moment as second_moment,
)
from .shrinkage import covariance as covariance, ridge as ridge, root as root, shrinkage as shrinkage, shrunk as shrunk
from .stats import (
    Eigen as Eigen,
    LayerStats as LayerStats,
    Stats as Stats,
    blocks as blocks,
    check_stats as check_stats,
    observed as observed,
    takes_mean as takes_mean,
)
