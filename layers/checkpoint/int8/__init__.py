"""Make a network of 8-bit integers from calibration images."""

from .aware import rounding_aware as rounding_aware
from .quantise import NNCF as NNCF, check_int8 as check_int8, export_int8 as export_int8, quantised as quantised
from .ranges import METHODS as METHODS
from .rounding import compensated_network as compensated_network
