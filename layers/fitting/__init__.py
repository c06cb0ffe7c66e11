"""Fit factors to what the loss depends on."""

from .fit import loss_aware as loss_aware, sees_patches as sees_patches, start as start, whitened as whitened
from .held_out import distance as distance
from .metric import Metric as Metric
from .refit import refit as refit
from .spool import NO_ROOM as NO_ROOM
from .whitening import Whitening as Whitening
