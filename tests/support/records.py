"""Records of made-up numbers, as figures ask for them."""

from dataclasses import replace

from experiments.lab.results.metrics import metrics
from experiments.lab.results.result import Number, Result

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
        for panel in figure.panels:
            for row in panel.rows if panel.of == name else ():
                for level in {panel.level, *LEVELS} if row != "dense" else {"1"}:
                    numbers.setdefault(row, {})[level] = {metric: _number(metric, row, level) for metric in metrics()}
                if figure.kind in SERIES:
                    made = SERIES[figure.kind](figure)
                    series.setdefault(row, {}).setdefault(panel.level, {}).update(made)
    return empty(name, numbers=numbers, series=series)


def _epochs(figure):
    return {name: [[1 / (epoch + 1) + seed / 9 for epoch in range(6)] for seed in (0, 1)] for name in figure.y}


def _layers(figure):
    specs = ["{'rank': 3}", "{'ranks': (4, 2)}", ""]
    return {"layer": [LAYERS] * 2, "spec": [specs] * 2} | {name: [[0.5, 0.25, 1.0]] * 2 for name in figure.y}


def _trials(figure):
    rates = [10 ** (-1 - number / 4) for number in range(10)]
    sizes, kinds = [2 ** (4 + number % 4) for number in range(10)], ["sgd", "adamw"] * 5
    values = [90 + 3 * rate + size / 100 for rate, size in zip(rates, sizes)]
    return {"value": [values], "lr": [rates], "batch_size": [sizes], "optimizer": [kinds]}


SERIES = {"epochs": _epochs, "ranks": _layers, "layers": _layers, "tuning": _trials}


def without(record, row):
    """The record without that row."""
    return replace(record, numbers={name: levels for name, levels in record.numbers.items() if name != row})
