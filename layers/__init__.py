"""Compressed layers, model surgery and planning, for any nn.Module."""

from .budget import Budget
from .coded import Coded, code, fold
from .compress import compress, load, save
from .cost import Cost, cost
from .methods import METHODS
from .plan import Plan
from .planner import make_plan
from .selectors import SELECTORS
from .surgery import replace
from .timing import Timing, interleaved, latency
from .transform import Transform

__all__ = [
    "METHODS",
    "SELECTORS",
    "Budget",
    "Coded",
    "Cost",
    "Plan",
    "Timing",
    "Transform",
    "code",
    "compress",
    "cost",
    "fold",
    "interleaved",
    "latency",
    "load",
    "make_plan",
    "replace",
    "save",
]
