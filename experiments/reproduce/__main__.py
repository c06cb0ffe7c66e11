"""`python -m experiments.reproduce [NAME ...]`: carry out what thesis/runs.toml names, and write thesis/results/."""

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

from checks import require

from ..lab.command import door
from .config import Reproduce

if TYPE_CHECKING:
    from ..lab.results.manifest import Entry


def act(options: Reproduce) -> int:
    """Carry out the experiments that are asked for and write their results, or only say how they stand."""
    from ..lab.results.manifest import manifest
    from ..lab.results.result import read, write
    from .compare import differences

    entries = manifest()
    asked = _asked(options, entries)
    if options.docs:
        return _docs()
    if options.status or not (asked or options.all or options.quick or options.missing or options.stale):
        return _status(entries)
    from ..lab.progress import log  # with torch, for which --status need not wait
    from ..lab.refusals import check_slurm
    from .execute import carry_out

    check_slurm(options.executor)
    places = {"DATA": options.data, "CHECKPOINTS": options.checkpoints}
    given, others = {name: str(path.absolute()) for name, path in places.items() if path is not None}, False
    for entry in asked:
        if reason := _unable(entry, given):
            require(entry.name not in options.names, entry.name, reason, "an experiment that can be carried out here")
            log(f"{entry.name}: skipped, {reason}")
            continue
        recorded = read(entry.name) if options.check else None
        result = carry_out(entry, options.out, given, log, options.force, options.executor)
        if recorded is None:
            sys.stdout.write(f"{write(result)}\n")
            continue
        found = differences(recorded, result)
        sys.stdout.write("".join(f"{words}\n" for words in found) or f"{entry.name}: as recorded\n")
        others |= bool(found)
    return int(others)


def _asked(options: Reproduce, entries: "Mapping[str, Entry]") -> "list[Entry]":
    """Return the experiments that names and options ask for, in the order of the manifest."""
    from ..lab.results.manifest import chosen
    from ..lab.results.result import path_of, read
    from .status import why_stale

    names = {entry.name for entry in chosen(options.names, entries)}
    for name, entry in entries.items():
        there = path_of(name).is_file()
        wanted = options.all or (options.quick and entry.quick) or (options.missing and not there)
        if wanted or (options.stale and there and why_stale(entry, read(name))):
            names.add(name)
    return [entry for name, entry in entries.items() if name in names]


def _unable(entry: "Entry", given: dict[str, str]) -> str:
    """Say why an experiment cannot be carried out here; "" where it can."""
    from ..lab.results.manifest import NEEDS, PLACES

    if "gpu" in entry.needs:
        import torch  # seconds, which those who need no GPU need not wait

        if not torch.cuda.is_available():
            return f"it needs {NEEDS['gpu']}, and here is none"
    for place, what in PLACES.items():
        if any(f"${place}" in command for command in entry.commands) and place not in given:
            return f"it needs --{place.lower()}, {what}"
    return ""


def _status(entries: "Mapping[str, Entry]") -> int:
    """Print how results stand, and what stands on those that are missing, stale or unreadable."""
    from rich.console import Console

    from ..lab.reporting.tables import print_table
    from .status import results, standing

    console = Console()
    print_table(results(entries), console)
    if (without := standing(entries)).rows:
        console.print()
        print_table(without, console)
    return 0


def _docs() -> int:
    """Write the tables of the pages anew, and say which pages have changed."""
    from layers.network import write_text

    from ..lab.results.tables import filled, pages

    for path in pages():
        text = path.read_text(encoding="utf-8")
        if (anew := filled(text)) != text:
            write_text(path, anew)
            sys.stdout.write(f"{path}\n")
    return 0


main = door("reproduce", Reproduce, act, resumes=True)

if __name__ == "__main__":
    sys.exit(main())
