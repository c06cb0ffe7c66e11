"""A plan: which layer becomes what, at what cost and predicted error, and why the others stay dense.  Plain JSON."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from checks import need

from .budget import Budget
from .cost import Cost

VERSION = 1


@dataclass(frozen=True)
class LayerPlan:
    """One layer; kernel is None where it stays dense, and `reason` then says why."""

    name: str
    kernel: str | None
    spec: Mapping[str, Any]
    before: Cost
    after: Cost
    error: float  # |W - W_hat| / |W|
    reason: str = ""


@dataclass(frozen=True)
class Plan:
    """What `make_plan` decided and `compress` will do."""

    layers: tuple[LayerPlan, ...]
    budget: Budget
    selector: str
    before: Cost  # of the whole network
    after: Cost

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the plan as JSON, whole or not at all."""
        write_text(Path(path), json.dumps({"version": VERSION, **asdict(self)}, indent=1) + "\n")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Plan":
        """Read what `save` wrote; ValueError if it is not a plan of this version."""
        try:
            data = json.loads(Path(path).read_text(encoding="utf-8"))
            need(isinstance(data, dict) and data.get("version") == VERSION, "plan", str(path), f"of version {VERSION}")
            return cls(
                tuple(
                    LayerPlan(**{**row, "before": Cost(*row["before"]), "after": Cost(*row["after"])})
                    for row in data["layers"]
                ),
                Budget(**data["budget"]),
                data["selector"],
                Cost(*data["before"]),
                Cost(*data["after"]),
            )
        except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
            raise ValueError(f"plan must be the JSON that Plan.save writes, got {path} ({error!r})") from None

    def __str__(self) -> str:
        """One line per layer and the totals."""
        rows = [("layer", "kernel", "spec", "params", "macs", "error", "")]
        for p in self.layers:
            spec = " ".join(f"{key}={value}" for key, value in p.spec.items())
            error = f"{p.error:.3f}" if p.kernel else ""
            rows.append((p.name, p.kernel or "dense", spec, *_ratios(p.before, p.after), error, p.reason))
        rows.append(("total", str(self.budget), self.selector, *_ratios(self.before, self.after), "", ""))
        widths = [max(map(len, column)) for column in zip(*rows)]
        return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(row, widths)).rstrip() for row in rows)


def _ratios(before: Cost, after: Cost) -> tuple[str, str]:
    return f"{before.params:,} > {after.params:,}", f"{before.macs:,} > {after.macs:,}"


def write_text(path: Path, text: str) -> None:
    """Write under a temporary name, then rename: a reader never sees half a file."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)
