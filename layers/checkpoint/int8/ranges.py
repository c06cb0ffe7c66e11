"""Between which numbers each tensor inside an .onnx network lies: what 8 bits are spread over."""

import contextlib
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from .graph import activation_bytes

METHODS = ("minmax", "entropy", "percentile", "mse")  # all but the last of onnxruntime
SHARES = np.linspace(0.4, 1, 61)  # of the range, that mse tries
STEPS = 255
HELD = 2**28  # bytes of activations at a time, of which a histogram is made


def calibrate_ranges(path: Path, batches: Sequence[Tensor], method: str, operators: Sequence[str]) -> Any:
    """Run the network on the batches; onnxruntime's TensorsData, tensor name -> lowest and highest number.

    minmax: the least and the greatest one;  percentile: what 99.999 % of the numbers lie between;  entropy: the
    threshold of least Kullback-Leibler divergence between the histogram and its 8-bit one (Migacz 2017);  mse: the
    share of the range of least squared error.

    onnxruntime's own collecting holds every activation of every image at once, and grows its histogram by a bin
    wherever a later image exceeds the first one's greatest number.  Here the least and greatest numbers come first, so
    that the histogram has its edges from the beginning: some images at a time give the same numbers as all at once.
    """
    import onnx

    parts = in_parts(batches, HELD // activation_bytes(onnx.load(path)))
    minmax = _calibrator(path, "minmax", operators)
    minmax.collect_data(_Reader(parts))
    lowest = minmax.compute_data()
    if method == "minmax":
        return lowest
    calibrator = _calibrator(path, "percentile" if method == "mse" else method, operators)
    calibrator.collector = _collector(calibrator, lowest)
    with contextlib.redirect_stdout(io.StringIO()):
        for part in parts:
            calibrator.collect_data(_Reader([part]))
        return _least_errors(calibrator) if method == "mse" else calibrator.compute_data()


def in_parts(batches: Sequence[Tensor], size: int) -> list[Tensor]:
    """The images in parts of at most `size`, one at least."""
    return [part for batch in batches for part in batch.split(max(1, size))]


class _Reader:
    """Hands batches to onnxruntime's calibration, one by one."""

    def __init__(self, batches: Iterable[Tensor]) -> None:
        self.batches = iter(batches)

    def get_next(self) -> dict[str, np.ndarray] | None:
        """The next batch by the name of the input; None after the last one."""
        from ..export import INPUT

        batch = next(self.batches, None)
        return None if batch is None else {INPUT: batch.cpu().contiguous().numpy()}


def _calibrator(path: Path, method: str, operators: Sequence[str]) -> Any:
    from onnxruntime.quantization import CalibrationMethod, create_calibrator

    kinds = {"minmax": "MinMax", "entropy": "Entropy", "percentile": "Percentile"}
    augmented = str(path.with_name(f"{method}-{path.name}"))
    both_ends = {"symmetric": False}  # else a ReLU's output, which is never negative, has half of the 256 steps
    return create_calibrator(
        path,
        operators,
        augmented_model_path=augmented,
        calibrate_method=CalibrationMethod[kinds[method]],
        providers=["CPUExecutionProvider"],
        extra_options=both_ends,
    )


def _collector(calibrator: Any, lowest: Any) -> Any:
    """Histograms without a count, whose edges hold all that the images reach."""
    from onnxruntime.quantization.calibrate import HistogramCollector

    names = ("method", "symmetric", "num_bins", "num_quantized_bins", "percentile", "scenario")
    collector = HistogramCollector(**{name: getattr(calibrator, name) for name in names})
    for name, data in lowest.items():
        low, high = (float(np.asarray(end).item()) for end in data.range_value)
        reach = max(-low, high)
        count, edges = np.histogram(np.empty(0, np.float32), calibrator.num_bins, range=(-reach, reach))
        collector.histogram_dict[name] = (count, edges, *map(np.float32, (low, high, reach)))
    return collector


def _least_errors(calibrator: Any) -> Any:
    from onnxruntime.quantization.calibrate import CalibrationMethod, TensorsData

    ends = {
        name: tuple(np.float32(end) for end in least_error(count, edges, float(low), float(high)))
        for name, (count, edges, low, high, *_) in calibrator.collector.histogram_dict.items()
    }
    return TensorsData(CalibrationMethod.MinMax, ends)


def least_error(count: np.ndarray, edges: np.ndarray, low: float, high: float) -> tuple[float, float]:
    """The share of [low, high] with zero in it that loses least: (s^2 / 12) n_inside + sum of (x - end)^2 outside.

    s = (high - low) / 255 is the step, whose rounding errors are taken for uniform.  The product of the two ends'
    shares is not searched: both take one.

    >>> count, edges = np.histogram([*range(100), 400.0], 2000, range=(-400, 400))
    >>> [round(float(end)) for end in least_error(count, edges, 0.0, 400.0)]
    [0, 400]
    >>> count, edges = np.histogram([*range(100)] * 1000 + [400.0], 2000, range=(-400, 400))
    >>> [round(float(end)) for end in least_error(count, edges, 0.0, 400.0)]
    [0, 356]
    """
    low, high, x = min(low, 0.0), max(high, 0.0), (edges[:-1] + edges[1:]) / 2
    losses = []
    for share in SHARES:
        clipped = x.clip(share * low, share * high)
        losses.append((share * (high - low) / STEPS) ** 2 / 12 * count.sum() + (count * (x - clipped) ** 2).sum())
    best = float(SHARES[int(np.argmin(losses))])
    return best * low, best * high
