"""Records of made-up numbers: as figures ask for them, or of all that an entry of the manifest measures."""

from dataclasses import replace
from itertools import product
from pathlib import Path

from experiments.lab.results.manifest import words
from experiments.lab.results.metrics import metrics
from experiments.lab.results.result import Number, Result
from experiments.lab.steps.language import parse
from experiments.reproduce.names import place
from layers.checkpoint.serving import HAS

LAYERS = ["conv1", "conv2", "fc1"]
MACS = {"macs": 4e5, "params": 6e4, "bytes": 2.4e5, "compressed": 2e5, "nonzeros": 6e4}
LEVELS = ("0.75", "0.5", "0.25")


def empty(name, **parts):
    return Result(
        name, (f"run --seed {name}",), "Nothing.", "abc1234", "CPU", 1, {"torch": "2"}, (0, 1), "2026", 1.0, **parts
    )


def _number(metric, row, level):
    kept, noise = float(level) if level.replace(".", "").isdigit() else 0.5, (sum(map(ord, row + metric)) % 7) / 10
    if metric in MACS:
        return Number.of([MACS[metric] * kept * (1 + noise / 10)] * 2)
    if metrics()[metric].better == "higher":
        return Number.of([97 - 8 * (1 - kept) ** 2 - noise, 96.5 - 9 * (1 - kept) ** 2 - noise])
    return Number.of([0.1 + kept + noise, 0.12 + kept + noise])


def record_for(figures, name):
    """The record of that name with all rows, levels, metrics and series that these figures ask of it."""
    numbers, series = {"dense": {"1": {metric: _number(metric, "dense", "1") for metric in metrics()}}}, {}
    for figure in figures:
        for _, row, level, _ in (shown for panel in figure.panels for shown in panel.shown if shown.of == name):
            for one in {level, *LEVELS} if row != "dense" else {"1"}:
                numbers.setdefault(row, {})[one] = {metric: _number(metric, row, one) for metric in metrics()}
            if figure.kind in SERIES:
                series.setdefault(row, {}).setdefault(level, {}).update(SERIES[figure.kind](figure))
    return empty(name, numbers=numbers, series=series)


def _epochs(figure):
    return {name: [[1 / (epoch + 1) + seed / 9 for epoch in range(6)] for seed in (0, 1)] for name in figure.y}


def _layers(figure):
    specs = [{"rank": 3}, {"ranks": [4, 2]}, {}]
    return {"layer": [LAYERS] * 2, "spec": [specs] * 2} | {name: [[0.5, 0.25, 1.0]] * 2 for name in figure.y}


def _trials(figure):
    rates = [10 ** (-1 - number / 4) for number in range(10)]
    sizes, kinds = [2 ** (4 + number % 4) for number in range(10)], ["sgd", "adamw"] * 5
    values = [90 + 3 * rate + size / 100 for rate, size in zip(rates, sizes)]
    return {"value": [values], "lr": [rates], "batch_size": [sizes], "optimizer": [kinds]}


SERIES = {"epochs": _epochs, "trials": _epochs, "ranks": _layers, "layers": _layers, "tuning": _trials}


def without(record, row):
    """The record without that row."""
    return replace(record, numbers={name: levels for name, levels in record.numbers.items() if name != row})


def places_of(entry):
    """(row, level) of every network that the commands of an entry of runs.toml measure."""
    found = [("dense", "1")]
    for verb, *options in map(words, entry.commands):
        given = _given(options[verb == "bench" :])  # after the name of what is measured
        if verb == "search":
            found += [(plan, "0.35") for plan in ("loss", "search")]
        elif verb == "bench":
            cells = [f"{runtime}-{precision}" for runtime in given["runtimes"] for precision in HAS[runtime]]
            found += product(("dense", *given["ways"]), cells)
        elif verb == "tune":
            found.append(("tuned", "1"))
        elif verb == "study":
            parts = product(STUDIED, ("trained", "shuffled", "sorted", "random", "random+sorted"), ("0.5", "0.25"))
            found += [(f"{kernel}-{condition}-conv", share) for kernel, condition, share in parts]
        elif verb == "sweep" and "kernel" in given:
            usual, metric = given["selector"][0], given.get("metric", ["macs"])[0]
            sample = "-refit=no" if "no-refit" in given else ""
            sample += "".join(f"-images={count}" for count in given.get("calibration-images", ()))
            sample += "".join(f"-images-of={Path(root).name}" for root in given.get("calibration-root", ()))
            for kernel, selector, share in product(given["kernel"], given["selector"], given["fractions"]):
                other = "" if selector == usual else f"-selector={selector}"
                found.append((f"{kernel}{other}{sample}", share if metric == "macs" else f"{metric}={share}"))
        elif "frequency" in given:
            found += [(kernel, given.get("layers", ["all"])[0]) for kernel in given["kernel"]]
        for steps in map(parse, given.get("compress", ())):
            found += [place(steps[: count + 1]) for count in range(len(steps))]
    return list(dict.fromkeys(found))


def _given(options):
    given = {}
    for option in options:
        if option.startswith("--"):
            given[option[2:]] = last = []
        else:
            last.append(option)
    return given


STUDIED = [
    *(
        f"{kernel}-{axes}-largest"
        for kernel in ("dct", "dst", "dft", "dht", "dwt", "shannon")
        for axes in ("channels", "spatial")
    ),
    *("none-largest", "svd-channel-rank", "svd-spatial-rank", "tucker-channels-rank", "cp-all-rank", "ht-all-rank"),
]


def whole_record(entry):
    """A record of all that an entry of runs.toml measures, without series."""
    numbers = {}
    for row, level in places_of(entry):
        numbers.setdefault(row, {})[level] = {metric: _number(metric, row, level) for metric in metrics()}
    return empty(entry.name, numbers=numbers)
