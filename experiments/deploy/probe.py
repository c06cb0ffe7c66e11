"""`python -m experiments.deploy.probe FOLDER RUNTIME PRECISION DEVICE THREADS BATCH SHAPE LAST`: load a file anew.

Prints {"load_seconds", "peak_memory"} as JSON: seconds until the network is ready, and the bytes by which the process
has grown at most, the runtime's own included, once it has answered a batch; the packages are imported before.  On cuda
the bytes are those by which less of the GPU is free.  LAST: 1 for channels_last.
"""

import json
import resource
import sys
import time
from pathlib import Path

import torch

from .cells import Cell

RESET = Path("/proc/self/clear_refs")  # where Linux takes the order to forget the peak


def main(
    folder: str, runtime: str, precision: str, device: str, threads: str, batch: str, shape: str, last: str
) -> None:
    """Load, answer once, and print."""
    torch.set_num_threads(int(threads))
    x = torch.zeros(int(batch), *map(int, shape.split("x")), device=device)
    if not runtime.startswith("torch"):
        __import__(runtime)
    before, start = _taken() if device == "cuda" else _begin(), time.perf_counter()
    network = Cell(runtime, precision, device).start(Path(folder), int(threads), bool(int(last)))
    loaded = time.perf_counter() - start
    with torch.no_grad():
        network(x)
    after = _taken() if device == "cuda" else _peak()
    sys.stdout.write(json.dumps({"load_seconds": loaded, "peak_memory": after - before}) + "\n")


def _taken() -> int:
    """Return the bytes of the GPU that are in use: runtimes keep what they had."""
    free, total = torch.cuda.mem_get_info()
    return total - free


def _begin() -> int:
    """Return the bytes in memory now, from where the peak is counted; on Linux what was freed before counts no more."""
    if RESET.exists():
        RESET.write_text("5", encoding="ascii")
    return _peak()


def _peak() -> int:
    """Return the most bytes that this process has had in memory."""
    if RESET.exists():
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    main(*sys.argv[1:])
