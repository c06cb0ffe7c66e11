"""Leave fewer channels, weights or bits: pruning and quantisation."""

from .channels import Thin as Thin, prune_channels as prune_channels
from .grid import compensated as compensated, largest as largest, nearest as nearest, put as put, steps as steps
from .left import outputs_left as outputs_left
from .quantise import Binary as Binary, Half as Half, binarise as binarise
from .weights import gradual as gradual, mask as mask, masks as masks, zeros as zeros
from .widths import Widths as Widths, arguments as arguments, resize as resize, widths_of as widths_of
