"""Say how a table came about: the command that makes it again, the options that matter, machine, versions, commit."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from ..config import Compression, Data, Measurement, Network, Training

GROUPS = (Network, Data, Compression, Training, Measurement)
PLACES = {"data_root": "DIR", "checkpoint": "FILE"}  # of the one machine that ran it: a reader puts in their own
NAMED = ("dataset", "model")  # a run's name begins with them


def _plain(value: Any) -> Any:
    """The value as JSON has it."""
    if isinstance(value, (list, tuple)):
        return [_plain(element) for element in value]
    return value if value is None or isinstance(value, bool | int | float) else str(value)


def changed(config: Mapping[str, Any]) -> dict[str, Any]:
    """Option -> value of every option of a run that is not at its default, in the order of `--help`."""
    defaults = {field.name: _plain(getattr(group(), field.name)) for group in GROUPS for field in fields(group)}
    given = {name: _plain(config[name]) for name in defaults if name in config}
    return {name: value for name, value in given.items() if value is not None and value != defaults[name]}


def words(options: Mapping[str, Any]) -> str:
    """The options as they are typed, with a word in capitals for a path."""
    typed = []
    for name, value in options.items():
        flag = f"--{'no-' if value is False else ''}{name.replace('_', '-')}"
        values = value if isinstance(value, list) else [] if isinstance(value, bool) else [value]
        typed += [flag, *(PLACES.get(name) or shlex.quote(str(element)) for element in values)]
    return " ".join(typed)


def command(config: Mapping[str, Any]) -> str:
    """The `experiments.run` of a run's flat configuration."""
    return f"python -m experiments.run {words(changed(config))}".rstrip()


def differences(configs: Sequence[Mapping[str, Any]]) -> list[str]:
    """For each run the options, as they are typed, that are not at their defaults and that not all runs share.

    Of one run alone: all that are not at their defaults.  Dataset and model are left out: the name has them.
    """
    options = [{k: v for k, v in changed(config).items() if k not in NAMED} for config in configs]
    shared = (
        {k for k in options[0] if all(k in other and other[k] == options[0][k] for other in options)} if options else {}
    )
    kept = [{k: v for k, v in own.items() if len(options) == 1 or k not in shared} for own in options]
    return [words(own) for own in kept]


def machine(environment: Mapping[str, Any]) -> str:
    """Device, threads, versions and commit of `lab.runs.record.environment`."""
    threads = environment.get("threads")
    device = environment.get("gpu") or "CPU"
    parts = [device if threads is None else f"{device}, {threads} {'thread' if threads == 1 else 'threads'}"]
    parts += [f"{name} {environment[name]}" for name in ("python", "torch") if environment.get(name)]
    return ", ".join([*parts, f"commit {environment.get('commit') or 'unknown'}"])


def provenance(command: str, environment: Mapping[str, Any], measured: str) -> str:
    """The line below every Markdown table: what made it, on how much data with what spread, and where."""
    return f"Made by `{command}`: {measured}; {machine(environment)}."
