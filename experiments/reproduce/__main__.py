"""`python -m experiments.reproduce [NAME ...]`: carry out what thesis/runs.toml names, and write thesis/results/."""

import sys
from typing import TYPE_CHECKING

from checks import require

from ..lab.command import door
from .config import Reproduce

if TYPE_CHECKING:
    from ..lab.results.manifest import Entry


def act(options: Reproduce) -> int:
    """Carry out the experiments that are asked for and write their results, or only say how they stand."""
    from rich.console import Console

    from ..lab.progress import log
    from ..lab.refusals import check_slurm
    from ..lab.reporting.tables import print_table
    from ..lab.results.manifest import chosen, manifest
    from ..lab.results.result import path_of, read, write
    from .execute import carry_out
    from .status import table, why_stale

    entries = manifest()
    asked = {entry.name: entry for entry in chosen(options.names, entries)}
    for name, entry in entries.items():
        there = path_of(name).is_file()
        wanted = options.all or (options.quick and entry.quick) or (options.missing and not there)
        if wanted or (options.stale and there and why_stale(entry, read(name))):
            asked[name] = entry
    if options.status or not (asked or options.all or options.quick or options.missing or options.stale):
        print_table(table(entries), Console())
        return 0
    check_slurm(options.executor)
    places = {"DATA": options.data, "CHECKPOINTS": options.checkpoints}
    given = {name: str(path.absolute()) for name, path in places.items() if path is not None}
    for name, entry in asked.items():
        if reason := _unable(entry, given):
            require(name not in options.names, name, reason, "an experiment that can be carried out here")
            log(f"{name}: skipped, {reason}")
            continue
        result = carry_out(entry, options.out, given, log, options.force, options.executor)
        sys.stdout.write(f"{write(result)}\n")
    return 0


def _unable(entry: "Entry", given: dict[str, str]) -> str:
    """Say why an experiment cannot be carried out here; "" where it can."""
    from ..lab.results.manifest import NEEDS, PLACES

    if "gpu" in entry.needs:
        import torch

        if not torch.cuda.is_available():
            return f"it needs {NEEDS['gpu']}, and here is none"
    for place, what in PLACES.items():
        if any(f"${place}" in command for command in entry.commands) and place not in given:
            return f"it needs --{place.lower()}, {what}"
    return ""


main = door("reproduce", Reproduce, act, resumes=True)

if __name__ == "__main__":
    sys.exit(main())
