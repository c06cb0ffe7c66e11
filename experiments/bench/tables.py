"""What must be fast, against what, and by how much."""

from .gpu import gpu_cases
from .kernels.ranks import evbmf_cases, ht_cases, svd_cases
from .kernels.tensors import cp_cases, tucker_cases
from .kernels.transforms import dct_cases, dwt_cases
from .layers import layer_cases
from .networks import compress_cases, latency_cases, speed_cases
from .row import Later, Measured, Row, measure
from .table import show
from .training import training_cases

TABLES = {
    "kernels": (tucker_cases, cp_cases, svd_cases, evbmf_cases, dct_cases, dwt_cases, ht_cases),
    "layers": (layer_cases,),
    "networks": (speed_cases, latency_cases, compress_cases),
    "gpu": (gpu_cases,),
    "train": (training_cases,),
}

__all__ = ["TABLES", "Later", "Measured", "Row", "measure", "show"]
