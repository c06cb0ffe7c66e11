"""One run, one folder: its configuration, environment and results; complete when results.json is there."""

import json
import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

from checks import require

Kind = TypeVar("Kind", list[Any], dict[str, Any])
CONFIG = "config.json"
COMPLETE = "results.json"
VERSION = 3  # of its layout: in 2 a row of a network had its name under "kernel"
FACTS = {"config", "environment", "test_images", "latency_batches"}
ROW = {"network", "top1", "top5", "loss", "params", "macs", "bytes", "peak_memory", "training_seconds"}


def make_folder(out: Path, name: str) -> Path:
    """Create a folder in `out`; ValueError if it cannot be written."""
    folder = out / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"out must be a folder that can be written, got {out} ({error})") from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ValueError(f"out must be a folder that can be written, got {folder} (permission denied)")
    return folder


def environment() -> dict[str, object]:
    """Return what a reader needs to judge or repeat a measurement."""
    import torch  # seconds, which those who only read need not wait

    packages = {name: version(name) for name in ("torch", "torchvision", "numpy", "lightning")}
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": processor(),
        "threads": torch.get_num_threads(),
        "gpu": gpu,
        "commit": commit(),
        **packages,
    }


def commit() -> str | None:
    """Return the commit of the code, with -dirty where files differ from it, but for the thesis and pages."""
    root = Path(__file__).parents[3]
    described = subprocess.run(["git", "describe", "--always"], cwd=root, capture_output=True, text=True, check=False)
    if described.returncode:
        return None
    differs = ["git", "diff-index", "--quiet", "HEAD", "--", ".", ":!thesis", ":!*.md"]
    dirty = subprocess.run(differs, cwd=root, capture_output=True, check=False).returncode
    return described.stdout.strip() + "-dirty" * bool(dirty)


def processor() -> str:
    """Name the CPU, its family, as names say little, and what it multiplies 8-bit integers and bfloat16 with."""
    try:
        told = Path("/proc/cpuinfo").read_text(encoding="utf-8").split("\n\n")[0].splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    entries = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in told)}
    flags = entries.get("flags", "").split()
    products: list[str] = [flag for flag in ("avx_vnni", "avx512_vnni", "amx_int8") if flag in flags]
    products = products or ["no 8-bit dot products"]
    products += [flag for flag in ("avx512_bf16", "amx_bf16") if flag in flags]
    family = f" family {entries['cpu family']} model {entries['model']}" if "cpu family" in entries else ""
    return f"{entries.get('model name', platform.machine())}{family} ({', '.join(products)})"


def write_json(path: Path, data: object) -> None:
    """Write JSON, whole or not at all."""
    from layers.network import write_text  # with torch, as above

    write_text(path, json.dumps(data, indent=1, default=str) + "\n")


def read_results(folder: Path) -> dict[str, Any]:
    """Read the results of a complete run; ValueError if the folder holds none, or none that can be read."""
    require(folder.is_dir(), "run", str(folder), "a run folder")
    path = folder / COMPLETE
    unfinished = f"complete: {folder} has no {COMPLETE} yet, the same command again finishes it"
    require(path.is_file() or not (folder / CONFIG).is_file(), "run", folder.name, unfinished)
    require(path.is_file(), "run", str(folder), f"a run folder, with {CONFIG} and {COMPLETE}")
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # no JSON, or no text
        raise ValueError(f"run must have a whole {COMPLETE}, got {path} ({error}): repeat it with --force") from None
    ours = isinstance(results, dict) and "rows" in results
    require(ours, "run", str(folder), "a folder that experiments.run wrote, not another verb")
    version, rows = results.get("version"), results["rows"]
    newer = isinstance(version, int) and version > VERSION
    require(not newer, "run", f"{path} of {version}", f"of layout version {VERSION} or before: read it with newer code")
    require(version in (2, 3), "run", f"{path} of {version}", f"of layout version {VERSION}: repeat it with --force")
    if version == 2 and isinstance(rows, list):
        rows = [{"network": row.pop("kernel", None), **row} if isinstance(row, dict) else row for row in rows]
        results |= {"version": VERSION, "rows": rows}
    whole = isinstance(rows, list) and rows and all(isinstance(row, dict) and set(row) >= ROW for row in rows)
    require(bool(whole) and set(results) >= FACTS, "run", str(path), "a whole one: repeat it with --force")
    return results


def read_beside(path: Path, kind: type[Kind]) -> Kind:
    """Read a JSON file that lies beside results.json, empty where there is none; ValueError for no whole one."""
    if not path.is_file():
        return kind()
    again = "repeat the run with --force"
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path.name} must be whole, got {path} ({error}): {again}") from None
    if not isinstance(data, kind):
        raise ValueError(f"{path.name} must be what experiments.run wrote, got {path}: {again}")
    return data
