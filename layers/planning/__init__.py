"""Spend one budget over the layers of a network."""

from .budget import Budget as Budget
from .compress import carry_out as carry_out, compress as compress
from .methods import METHODS as METHODS, Method as Method, method as method
from .plan import LayerPlan as LayerPlan, Plan as Plan
from .planner import (
    MIXED as MIXED,
    Request as Request,
    check_kernels as check_kernels,
    make_plan as make_plan,
    survey_network as survey_network,
)
from .prices import Here as Here, cache_file as cache_file, noise as noise
from .selectors import SELECTORS as SELECTORS
from .survey import LayerForms as LayerForms, Survey as Survey, Weight as Weight
