"""Keep a network, export it and read it back; run what was exported."""

from .bits import on_grid as on_grid
from .checkpoint import load as load, save as save
from .export import export as export
from .int8 import check_int8 as check_int8, export_int8 as export_int8
from .runtime import OnnxNetwork as OnnxNetwork
from .serving import Serving as Serving
