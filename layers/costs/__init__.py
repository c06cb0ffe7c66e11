"""Count parameters and multiplications, measure seconds and memory."""

from .cost import (
    Cost as Cost,
    cost as cost,
    storage as storage,
    traced_cost as traced_cost,
)
from .file import FLOAT as FLOAT, FileCost as FileCost, file_cost as file_cost, file_macs as file_macs
from .memory import file_memory as file_memory, images_at_once as images_at_once, peak_memory as peak_memory
from .scale import Scale as Scale, Score as Score, scale as scale, score as score
from .timing import Timing as Timing, forward as forward, interleaved as interleaved, latency as latency
from .trace import CONVS as CONVS, LINEARS as LINEARS, Call as Call, Trace as Trace, trace as trace
