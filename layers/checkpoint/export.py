"""The network for other runtimes: an ONNX file or a torch.export program, for any batch size, neither needing us."""

import copy
import os
from pathlib import Path

import torch
from torch import Tensor, nn

from checks import require

from ..coded import fold

SUFFIXES = (".onnx", ".pt2")
ONNX_LIMIT = 2**31 - 1  # bytes of one protobuf message; beyond it the weights would need a second file


def program(small: nn.Module, x: Tensor) -> torch.export.ExportedProgram:
    """The network in eval mode, coded weights folded, as a program for inputs like x (n, ...) with any n >= 1.

    ValueError for a network that cannot be traced so, such as one that fixes the batch size.
    """
    require(
        isinstance(x, Tensor) and x.ndim >= 1 and len(x) >= 1, "x", type(x).__name__, "a batch (n, ...), n at least 1"
    )
    model = fold(copy.deepcopy(small).eval())
    batch = torch.cat([x, x]) if len(x) == 1 else x  # torch.export takes a size of one for a constant
    try:
        return torch.export.export(model, (batch,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[:2]
        raise ValueError(
            f"{type(small).__name__} must be a network that torch.export can trace for any batch size, got: "
            + " ".join(map(str.strip, reason))
        ) from error


def export(small: nn.Module, x: Tensor, path: str | os.PathLike[str]) -> None:
    """Write the network for another runtime: *.onnx (ONNX, one file) or *.pt2 (for torch.export.load).

    x (n, ...) is an example input; the batch axis of the result is dynamic.  Coded and frequency layers become the
    plain layers that they fold to, so a complex frequency layer is refused; `small` itself is untouched, its mode
    included.  Appears whole or not at all.  ValueError for another suffix, and for a network that cannot be traced or,
    as ONNX, has 2 GiB or more of weights.
    """
    path = Path(path)
    require(path.suffix in SUFFIXES, "path", str(path), f"a file name that ends in {' or '.join(SUFFIXES)}")
    traced = program(small, x)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        if path.suffix == ".pt2":
            torch.export.save(traced, temporary)
        else:
            size = sum(t.numel() * t.element_size() for t in traced.state_dict.values())
            require(size < ONNX_LIMIT, "weights for ONNX", f"{size:,} bytes", f"less than {ONNX_LIMIT:,} bytes")
            found = torch.onnx.export(traced, dynamo=True, verbose=False)
            assert found is not None  # it is for dynamo=True
            found.save(temporary, external_data=False)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
