"""Which network to ship, in two sentences from the numbers: at which cost, and whether the difference is chance."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from ..comparison import Comparison, ratio
from ..units import percent
from .chance import Difference, difference

WITHIN = 1.0  # points of top-1 that a network may lose and still be one to ship
ALIKE = 0.05  # of the dense network's cost: between networks no further apart the accuracy decides
COSTS = {  # in the order in which they are looked at; the first that is saved is what the verdict is about
    "macs": "multiply-accumulates",
    "params": "parameters",
    "compressed": "stored bytes",
    "bytes": "stored bytes",
}


class Verdict(NamedTuple):
    """A headline, two sentences, the large figures, and the network (run, row), None where none is to be shipped."""

    headline: str
    sentences: tuple[str, ...]
    facts: tuple[tuple[str, str], ...] = ()
    choice: tuple[str, Mapping[str, Any]] | None = None


class _Candidate(NamedTuple):
    run: str
    row: Mapping[str, Any]
    dense: Mapping[str, Any]
    cost: float  # as a share of the dense network's
    points: float  # of top-1 against dense

    @property
    def name(self) -> str:
        return self.row["network"]


def images_of(results: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return what says whether two runs were tested on the same images, in the same order."""
    config = results["config"]
    return (*(config.get(key) for key in ("dataset", "data_root", "seed")), results["test_images"])


def right_of(comparison: Comparison, run: str, network: str) -> str | None:
    """Return which images the network has right, as `packed` writes it; None in results from before that was kept."""
    return comparison.runs[run].get("right", {}).get(network)


def verdict(comparison: Comparison) -> Verdict:
    """Judge the networks of a comparison.

    To ship is the cheapest of those that lose at most `WITHIN` points against dense, or, where none does, the most
    accurate one that is cheaper.  Of networks that cost about the same (`ALIKE`) it is the most accurate.
    """
    if len({images_of(results) for results in comparison.runs.values()}) > 1:
        return _of_different_images(comparison)
    everything = [(label, row, dense) for label, row, dense in comparison.rows if row["network"] != "dense"]
    for key in _costs(comparison):
        shares = [(label, row, dense, ratio(row, dense, key)) for label, row, dense in everything]
        cheaper = [
            _Candidate(label, row, dense, share, row["top1"] - dense["top1"])
            for label, row, dense, share in shares
            if share is not None and share < 0.995
        ]
        if cheaper:
            return _judged(comparison, key, cheaper)
    if not everything:
        label, row, _ = next(iter(comparison.rows))
        only = f"{row['top1']:.2f} % of {comparison.runs[label]['test_images']:,} test images right."
        return Verdict("Nothing was compressed.", (f"The dense network has {only}",))
    return Verdict(
        "Ship the dense network.", ("No compressed network saves multiply-accumulates, parameters or bytes.",)
    )


def _costs(comparison: Comparison) -> list[str]:
    """Return the costs to judge by: first what the budgets limited, if they all limited the same."""
    budgets = {row.get("budget", "").split("=")[0] for _, row, _ in comparison.rows if row.get("budget")}
    first = [key for key in budgets if key in COSTS] if len(budgets) == 1 else []
    return list(dict.fromkeys([*first, *COSTS]))


def _judged(comparison: Comparison, key: str, cheaper: list[_Candidate]) -> Verdict:
    good = [one for one in cheaper if one.points >= -WITHIN]
    least = min(good, key=lambda one: one.cost) if good else max(cheaper, key=lambda one: one.points)
    alike = [one for one in good or cheaper if abs(one.cost - least.cost) <= ALIKE]
    best = max(alike, key=lambda one: (round(one.points, 1), -_rest(comparison, one)))
    images, against = comparison.runs[best.run]["test_images"], _difference(comparison, best, None)
    said, saved, where, time = _said(comparison, best), percent(1 - best.cost), COSTS[key], _time(comparison, best)
    if good:
        side = "above" if best.points > 0 else "below"
        accurate = "as accurate as dense" if against.chance else f"{abs(best.points):.1f} points {side} dense"
        headline = f"Ship {said}: {accurate}, {saved} fewer {where}."
    else:
        headline = f"{said} loses least: {-best.points:.1f} points for {saved} fewer {where}."
    timed = "" if time is None else f" and {time:.2f} times the time of {_batch(comparison)}"
    first = (
        f"{said} has {best.row['top1']:.2f}\u00a0% of {images:,} test images right "
        f"(dense: {best.dense['top1']:.2f}\u00a0%) at {percent(best.cost)} of the {where}{timed}."
    )
    second = f"Against dense that is {_points(against)} ({against.words(images)})"
    rivals = sorted(
        (one for one in cheaper if one is not best), key=lambda one: (one not in good, -one.points, one.cost)
    )
    if rivals:
        ahead = _difference(comparison, best, rivals[0])
        named, at = _said(comparison, rivals[0]), f"at {percent(rivals[0].cost)}"
        second += f"; against {named if named.endswith(at) else f'{named}, {at}'}, {_points(ahead)}"
    return Verdict(headline, (first, f"{second}."), _facts(comparison, best, time), (best.run, best.row))


def _said(comparison: Comparison, one: _Candidate) -> str:
    return f"{one.name} of {one.run}" if len(comparison.runs) > 1 else one.name


def _points(against: Difference) -> str:
    """Say a difference, and whether it is chance."""
    if round(against.points, 2) == 0:
        return "no difference"
    chance = "no more than chance may give" if against.chance else "more than chance"
    return f"{against.points:+.2f} points, {chance}"


def _rest(comparison: Comparison, one: _Candidate) -> float:
    """Return what decides between networks of about the same accuracy and cost: the time, else the numbers stored."""
    return _time(comparison, one) or ratio(one.row, one.dense, "params") or one.cost


def _batch(comparison: Comparison) -> str:
    images = comparison.batches[-1]
    return f"{images} images at once" if images > 1 else "one image at a time"


def _time(comparison: Comparison, one: _Candidate) -> float | None:
    """Return its latency for the largest batch over the dense network's; None where the machine was busy."""
    return ratio(one.row, one.dense, f"latency_{comparison.batches[-1]}") if comparison.batches else None


def _difference(comparison: Comparison, one: _Candidate, rival: _Candidate | None) -> Difference:
    label = one.run if comparison.dense is None else comparison.dense
    run, row = (label, one.dense) if rival is None else (rival.run, rival.row)
    right = right_of(comparison, one.run, one.name), right_of(comparison, run, row["network"])
    both = None if right[0] is None or right[1] is None else (right[0], right[1])
    return difference(one.row, row, comparison.runs[one.run]["test_images"], both)


def _facts(comparison: Comparison, best: _Candidate, time: float | None) -> tuple[tuple[str, str], ...]:
    facts = [(f"{best.row['top1']:.2f}\u00a0%", f"top-1, dense {best.dense['top1']:.2f}\u00a0%")]
    stored = next((key for key in ("compressed", "bytes") if best.row.get(key) is not None), "bytes")
    for key in ("macs", "params", stored):
        if (share := ratio(best.row, best.dense, key)) is not None:
            facts.append((percent(share), f"of the dense network's {COSTS[key]}"))
    if time is not None:
        facts.append((f"{time:.2f}\u00d7", f"of its time, {_batch(comparison)}"))
    return tuple(facts)


def _of_different_images(comparison: Comparison) -> Verdict:
    """Say the best of each run, where their accuracies are not of the same images."""
    said = []
    for label, results in comparison.runs.items():
        own = verdict(Comparison({label: results}))
        said.append(f"{label}: {own.headline}")
    return Verdict("No one winner: the runs were tested on different images.", tuple(said))
