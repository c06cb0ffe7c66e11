"""A plan: which layer becomes what, at what cost and predicted error, and why the others stay dense.  Plain JSON."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from torch import nn

from checks import require

from ..costs import Cost
from ..network import Layer, write_text
from ..thinning import Widths
from .budget import Budget

if TYPE_CHECKING:
    from pandas import DataFrame

VERSION = 1


class Seconds(NamedTuple):
    """Seconds of a forward pass of the example, dense and compressed: what a latency budget counts.

    A layer's are of the measured table; the network's were measured side by side.
    """

    before: float
    after: float


@dataclass(frozen=True)
class LayerPlan:
    """What becomes of one layer; kernel is None where it stays dense, and `reason` then says why."""

    name: str
    kernel: str | None
    spec: Mapping[str, Any]
    before: Cost
    after: Cost
    error: float  # in the selector's measure: |W - W_hat| / |W|, for minimax of spectral norms, for loss its rise
    reason: str = ""
    seconds: Seconds | None = None  # where the budget is a latency
    shape: tuple[int, ...] | None = None  # of the dense weight; plans of before it was kept have none


@dataclass(frozen=True)
class Plan:
    """What `make_plan` decided and `compress` will do, to a network that may have lost channels before.

    Args:
        layers: A row per layer: kernel, spec, costs before and after, error, and the reason where it stays dense.
        budget: The part of the network's cost that may be kept.
        selector: The row of SELECTORS by whose rule it was spent.
        before: Costs of the whole network.
        after: Costs of the compressed one.
        seconds: Where the budget is a latency, the measured seconds of both.
        widths: Channels of the layers that `prune_channels` made thinner beforehand.
        narrowed: Channels of the layers and factors that it made thinner afterwards.

    Example:
        >>> import torch
        >>> from layers import Budget, make_plan
        >>> model = torch.nn.Sequential(torch.nn.Linear(64, 32))
        >>> plan = make_plan(model, Budget(params=0.5), ("svd",), example=torch.zeros(1, 64))
        >>> plan.after
        Cost(params=992, macs=960, bytes=3968)
        >>> plan.layers[0].spec
        {'rank': 10}
    """

    layers: tuple[LayerPlan, ...]
    budget: Budget  # of the network that `make_plan` was given
    selector: str
    before: Cost  # of the whole network
    after: Cost
    seconds: Seconds | None = None  # where the budget is a latency
    widths: Widths = field(default_factory=dict)  # of layers that `prune_channels` made thinner, beforehand
    narrowed: Widths = field(default_factory=dict)  # of what it made thinner afterwards, factors too

    def save(self, path: str | os.PathLike[str], modules: Mapping[str, Any] | None = None) -> None:
        """Write the plan as JSON, whole or not at all; `modules` is for loader.py alone, `load` does not read it."""
        fields = asdict(self)
        if not self.narrowed:
            del fields["narrowed"]  # a plan without is the same file as before there was any
        text = json.dumps({"version": VERSION, **fields}, indent=1)
        if modules is not None:  # in one line: for no reader but the loader
            text = text.removesuffix("\n}") + f',\n "modules": {json.dumps(modules, separators=(",", ":"))}\n}}'
        write_text(Path(path), text + "\n")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Plan":
        """Read what `save` wrote; ValueError if it is not a plan of this version."""
        try:
            data = json.loads(Path(path).read_text(encoding="utf-8"))
            require(
                isinstance(data, dict) and data.get("version") == VERSION, "plan", str(path), f"of version {VERSION}"
            )
            return cls(
                tuple(map(_layer, data["layers"])),
                Budget(**data["budget"]),
                data["selector"],
                _cost(data["before"]),
                _cost(data["after"]),
                _seconds(data.get("seconds")),
                _widths(data.get("widths", {})),
                _widths(data.get("narrowed", {})),
            )
        except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError, RecursionError) as error:
            raise ValueError(f"plan must be the JSON that Plan.save writes, got {path} ({error!r})") from None

    def to_frame(self) -> "DataFrame":
        """Return a pandas table, a row per layer and `total` as the last; `error` is in the selector's measure."""
        import pandas  # here alone: nothing else in the package needs it, and it takes a second to import

        def line(name: str, kernel: str, spec: str, part: LayerPlan | Plan, error: float, reason: str) -> list:
            costs = [number for pair in zip(part.before, part.after) for number in pair]
            return [name, kernel, spec, *costs, *(part.seconds or ()), error, reason]

        costs = [f"{field}_{when}" for field in Cost._fields for when in ("before", "after")]
        seconds = [f"seconds_{when}" for when in Seconds._fields] if self.seconds else []
        columns = ["layer", "kernel", "spec", *costs, *seconds, "error", "reason"]
        lines = [line(p.name, p.kernel or "dense", _words(p.spec), p, p.error, p.reason) for p in self.layers]
        total = line("total", str(self.budget), self.selector, self, float("nan"), "")
        return pandas.DataFrame([*lines, total], columns=columns).set_index("layer")

    def __str__(self) -> str:
        """Return one line per layer and the totals."""
        time = ("ms",) if self.seconds else ()
        rows = [("layer", "kernel", "spec", "params", "macs", *time, "error", "")]
        for p in self.layers:
            error = f"{p.error:.3g}" if p.kernel else ""
            rows.append((p.name, p.kernel or "dense", _words(p.spec), *_ratios(p), error, p.reason))
        rows.append(("total", str(self.budget), self.selector, *_ratios(self), "", ""))
        widths = [max(map(len, column)) for column in zip(*rows)]
        return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(row, widths)).rstrip() for row in rows)


def shape_of(layer: nn.Module) -> tuple[int, ...] | None:
    """The shape of the weight of a layer that can be factored, None for any other module."""
    return tuple(layer.weight.shape) if isinstance(layer, Layer) else None


def _layer(row: Any) -> LayerPlan:
    """Read one row of the JSON; TypeError or KeyError for what is none.  Whether a layer can do it, `compress` asks."""
    if not isinstance(row["name"], str) or not isinstance(row["kernel"], str | None):
        raise TypeError(f"name and kernel of a layer are texts, not {row['name']!r} and {row['kernel']!r}")
    costs = {"before": _cost(row["before"]), "after": _cost(row["after"])}
    return LayerPlan(**{**row, **costs, "seconds": _seconds(row.get("seconds")), "shape": _shape(row.get("shape"))})


def _numbers(values: Any, count: int) -> list[Any]:
    if not isinstance(values, list) or len(values) != count or not all(type(v) in (int, float) for v in values):
        raise TypeError(f"{count} numbers are wanted, not {values!r}")
    return values


def _cost(values: Any) -> Cost:
    return Cost(*_numbers(values, len(Cost._fields)))


def _seconds(values: Any) -> Seconds | None:
    return None if values is None else Seconds(*_numbers(values, 2))


def _shape(values: Any) -> tuple[int, ...] | None:
    return None if values is None else tuple(_numbers(values, len(values)))


def _widths(values: Any) -> Widths:
    if not isinstance(values, dict) or not all(isinstance(channels, dict) for channels in values.values()):
        raise TypeError(f"widths of layers are wanted by their names, not {values!r}")
    return values


def _words(spec: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={value}" for key, value in spec.items())


def _ratios(part: LayerPlan | Plan) -> tuple[str, ...]:
    costs = [f"{before:,} > {after:,}" for before, after in zip(part.before, part.after)][:2]
    return *costs, *(
        f"{1e3 * seconds.before:.3g} > {1e3 * seconds.after:.3g}" for seconds in (part.seconds,) if seconds
    )
