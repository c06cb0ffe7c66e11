"""A plan: which layer becomes what, at what cost and predicted error, and why the others stay dense.  Plain JSON."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from checks import need

from .budget import Budget
from .cost import Cost

if TYPE_CHECKING:
    from pandas import DataFrame

VERSION = 1


@dataclass(frozen=True)
class LayerPlan:
    """One layer; kernel is None where it stays dense, and `reason` then says why."""

    name: str
    kernel: str | None
    spec: Mapping[str, Any]
    before: Cost
    after: Cost
    error: float  # in the selector's measure: |W - W_hat| / |W|, for minimax of spectral norms, for loss its rise
    reason: str = ""


@dataclass(frozen=True)
class Plan:
    """What `make_plan` decided and `compress` will do."""

    layers: tuple[LayerPlan, ...]
    budget: Budget
    selector: str
    before: Cost  # of the whole network
    after: Cost

    def save(self, path: str | os.PathLike[str], modules: Mapping[str, Any] | None = None) -> None:
        """Write the plan as JSON, whole or not at all; `modules` is for loader.py alone, `load` does not read it."""
        text = json.dumps({"version": VERSION, **asdict(self)}, indent=1)
        if modules is not None:  # in one line: for no reader but the loader
            text = text.removesuffix("\n}") + f',\n "modules": {json.dumps(modules, separators=(",", ":"))}\n}}'
        write_text(Path(path), text + "\n")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Plan":
        """Read what `save` wrote; ValueError if it is not a plan of this version."""
        try:
            data = json.loads(Path(path).read_text(encoding="utf-8"))
            need(isinstance(data, dict) and data.get("version") == VERSION, "plan", str(path), f"of version {VERSION}")
            return cls(
                tuple(map(_layer, data["layers"])),
                Budget(**data["budget"]),
                data["selector"],
                Cost(*data["before"]),
                Cost(*data["after"]),
            )
        except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError, RecursionError) as error:
            raise ValueError(f"plan must be the JSON that Plan.save writes, got {path} ({error!r})") from None

    def to_frame(self) -> "DataFrame":
        """A pandas table, a row per layer and `total` as the last; `error` is in the selector's measure."""
        import pandas  # here alone: nothing else in the package needs it, and it takes a second to import

        def line(name: str, kernel: str, spec: str, before: Cost, after: Cost, error: float, reason: str) -> list:
            costs = [number for pair in zip(before, after) for number in pair]
            return [name, kernel, spec, *costs, error, reason]

        costs = [f"{field}_{when}" for field in Cost._fields for when in ("before", "after")]
        columns = ["layer", "kernel", "spec", *costs, "error", "reason"]
        lines = [
            line(p.name, p.kernel or "dense", _words(p.spec), p.before, p.after, p.error, p.reason) for p in self.layers
        ]
        total = line("total", str(self.budget), self.selector, self.before, self.after, float("nan"), "")
        return pandas.DataFrame([*lines, total], columns=columns).set_index("layer")

    def __str__(self) -> str:
        """One line per layer and the totals."""
        rows = [("layer", "kernel", "spec", "params", "macs", "error", "")]
        for p in self.layers:
            error = f"{p.error:.3g}" if p.kernel else ""
            rows.append((p.name, p.kernel or "dense", _words(p.spec), *_ratios(p.before, p.after), error, p.reason))
        rows.append(("total", str(self.budget), self.selector, *_ratios(self.before, self.after), "", ""))
        widths = [max(map(len, column)) for column in zip(*rows)]
        return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(row, widths)).rstrip() for row in rows)


def _layer(row: Any) -> LayerPlan:
    """One row of the JSON; TypeError or KeyError for what is none.  Whether a layer can do it, `compress` asks."""
    if not isinstance(row["name"], str) or not isinstance(row["kernel"], str | None):
        raise TypeError(f"name and kernel of a layer are texts, not {row['name']!r} and {row['kernel']!r}")
    return LayerPlan(**{**row, "before": Cost(*row["before"]), "after": Cost(*row["after"])})


def _words(spec: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={value}" for key, value in spec.items())


def _ratios(before: Cost, after: Cost) -> tuple[str, str]:
    return f"{before.params:,} > {after.params:,}", f"{before.macs:,} > {after.macs:,}"


def write_text(path: Path, text: str) -> None:
    """Write under a temporary name, then rename: a reader never sees half a file."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)
