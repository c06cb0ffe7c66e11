"""What must be fast: the rows of each table of `experiments bench`, by its name."""

from collections.abc import Callable, Sequence

from .gpu.cases import gpu_cases
from .kernels.ranks import evbmf_cases, ht_cases, svd_cases
from .kernels.tensors import cp_cases, tucker_cases
from .kernels.transforms import dct_cases, dwt_cases
from .layers import layer_cases
from .networks import compress_cases, latency_cases, speed_cases
from .row import LazyRow, Row
from .training import training_cases

TABLES: dict[str, tuple[Callable[[], Sequence[Row | LazyRow]], ...]] = {
    "kernels": (tucker_cases, cp_cases, svd_cases, evbmf_cases, dct_cases, dwt_cases, ht_cases),
    "layers": (layer_cases,),
    "networks": (speed_cases, latency_cases, compress_cases),
    "gpu": (gpu_cases,),
    "train": (training_cases,),
}
