"""The files of a network: ONNX in float32 and in 8-bit integers, a program of torch.export, what serves an image."""

from collections.abc import Sequence
from pathlib import Path

from torch import nn

from layers import OnnxNetwork, export, export_int8, fold_batchnorm
from layers.network import whole, write_text

from ..lab.evaluation.calibration import Calibration
from ..lab.recipes.job import Job
from .cells import FLOAT, PROGRAM, QUANTISED, Cell

SERVER = Path(__file__).with_name("serve.py.txt")


def write(
    network: nn.Module,
    name: str,
    job: Job,
    calibration: Calibration | None,
    cells: Sequence[Cell],
    folder: Path,
    folded: bool,
) -> None:
    """Write the files that the cells run, each whole or not at all, and serve.py beside them.

    folded: BatchNorm into the layers before it, in the program for torch.
    """
    facts = {"network": name, **job.dataset.facts()}
    wanted, model = {cell.file for cell in cells}, network.cpu().eval()
    if QUANTISED in wanted:
        wanted.add(FLOAT)  # beside which a layer is blamed
    folder.mkdir(parents=True, exist_ok=True)
    if isinstance(network, OnnxNetwork):  # of step int8: it is a file already
        with whole(folder / QUANTISED) as temporary:
            temporary.write_bytes(network.content)
        wanted = set()
    for file in (FLOAT, PROGRAM):
        if file in wanted:
            fold = folded and file == PROGRAM
            plain = fold_batchnorm(model, job.example[:2]) if fold else model
            export(plain, job.example[:2], folder / file, facts)
    if QUANTISED in wanted and calibration is not None:
        export_int8(model, [images.cpu() for images, _ in calibration.batches], folder / QUANTISED, metadata=facts)
    write_text(folder / "serve.py", SERVER.read_text(encoding="utf-8"))
