"""A run's results, which are a comparison of one run: printed, as CSV, and as one self-contained page of HTML."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.text import Text

from layers import Plan
from layers.network import write_text

from .comparison import Comparison, caption, cells, frame, origin
from .formats import commands, to_latex, to_markdown
from .page import Block, Code, Fold, Grid, Page, Prose, Section, render
from .page.curves import curves
from .page.front import fronts
from .page.ladder import ladders
from .page.layers import layer_blocks
from .page.ranking import ranking
from .page.spectra import spectra_blocks
from .page.verdict import Verdict, verdict
from .provenance import differences
from .tables import Table, print_table

FRONT = (
    "Bars: 95 % Wilson intervals of the accuracy, quartiles of a time. Dotted above: the dense network. "
    "Below, up and to the left is better; dotted: the Pareto front, what nothing here beats in both."
)
LAYERS = "Grey: the dense layer. In colour: what is left of it, by kernel. Ranks, costs and reasons: point at a bar."


class Made(NamedTuple):
    """How one network came about: what was done in words, which text goes with it, and the plan."""

    words: str
    texts: Sequence[str] = ()
    plan: Plan | None = None
    evidence: Mapping[str, Any] = {}  # sensitivity and spectra, of lab/recipes/evidence.py


def networks_grid(comparison: Comparison, judged: Verdict) -> Grid:
    """Return the table of the networks, two lines a cell, sorted by the numbers themselves."""
    table, several = cells(comparison, "\n"), len(comparison.runs) > 1
    chosen = any(origin(row) for _, row, _ in comparison.rows)
    order = [
        [*[label] * several, row["network"], *[origin(row)] * chosen, *(row.get(key) for key in comparison.columns)]
        for label, row, _ in comparison.rows
    ]
    rows = [(label, row["network"]) for label, row, _ in comparison.rows]
    best = None if judged.choice is None else rows.index((judged.choice[0], judged.choice[1]["network"]))
    copies = {
        "CSV": frame(comparison).to_csv(index=False),
        "Markdown": to_markdown(comparison),
        "LaTeX": to_latex(comparison),
    }
    return Grid(table, "Accuracy and cost of every network", order, copies, names=int(several), best=best)


def comparison_page(comparison: Comparison, title: str, sections: Sequence[Section] = ()) -> Page:
    """Return the page of a comparison; `sections` of what only a single run has stand before how it was made."""
    judged = verdict(comparison)
    parts = [
        Section("Accuracy against cost", [ranking(comparison), *_letters(comparison), *fronts(comparison)], FRONT),
        Section(
            "All networks", [networks_grid(comparison, judged), Fold("How it was measured", _measured(comparison))]
        ),
    ]
    name = "" if judged.choice is None else judged.choice[1]["network"]
    if rungs := ladders(comparison, judged.choice and (judged.choice[0], name)):
        parts.append(
            Section("Step by step", rungs, "What each step gives or costs on the test images, which choose nothing.")
        )
    parts += [*sections, Section("Do it again", _again(comparison))]
    return Page(title, judged.headline, judged.sentences, parts, judged.facts, name)


def _letters(comparison: Comparison) -> list[Block]:
    """Say which letter of the figures is which run."""
    return [Prose("; ".join(f"{sign}: {label}" for label, sign in comparison.letters.items()))] * bool(
        comparison.letters
    )


def _measured(comparison: Comparison) -> list[Block]:
    return [Prose(sentence) for sentence in caption(comparison)]


def _again(comparison: Comparison) -> list[Block]:
    """Return the commands, the machines as a table, and every setting."""
    made = [Code(line.partition(": ")[2], f"the command of {line.partition(': ')[0]}") for line in commands(comparison)]
    machines = {label: results["environment"] for label, results in comparison.runs.items()}
    keys = list(dict.fromkeys(key for environment in machines.values() for key in environment))
    rows = [[key, *("" if made.get(key) is None else str(made[key]) for made in machines.values())] for key in keys]
    environment = Grid(Table(["what", *machines], rows, 1 + len(machines)), "Machine and versions", controls=False)
    settings = {label: results["config"] for label, results in comparison.runs.items()}
    config = Code(json.dumps(settings, indent=1), "all settings")
    return [*made, Fold("Machine and versions", [environment]), Fold("Every setting", [config])]


def layer_section(made: Mapping[str, Made], first: str = "") -> Section:
    """Return what became of each layer, a fold for each network; that of `first` is open."""
    folds = []
    for name, how in made.items():
        blocks: list[Block] = [Prose(f"{how.words[:1].upper()}{how.words[1:]}.")] if how.words else []
        if how.plan is not None:
            blocks += layer_blocks(how.plan, how.evidence.get("sensitivity"), name)
            blocks += spectra_blocks(how.plan, how.evidence.get("spectra", {}))
        blocks += [Code(text, f"what was done to {name}") for text in how.texts]
        folds.append(Fold(name, blocks, name == (first or next(iter(made))), name))
    return Section("What became of each layer", folds, LAYERS)


def write(
    results: dict[str, Any], made: Mapping[str, Made], history: Sequence[Mapping[str, Any]], folder: Path
) -> None:
    """Write results.csv and report.html; `history`: a row per network and epoch."""
    comparison = Comparison({folder.name: results})
    write_text(folder / "results.csv", frame(comparison).to_csv(index=False))
    choice = verdict(comparison).choice
    sections = [layer_section(made, choice[1]["network"] if choice else "")] if made else []
    if drawn := curves(history):
        sections.append(Section("Training", drawn))
    config = results["config"]
    title = f"{config['model']} on {config['dataset']}, {results['test_images']:,} test images"
    write_text(folder / "report.html", render(comparison_page(comparison, title, sections)))


def print_comparison(comparison: Comparison, console: Console) -> None:
    """Print a table for each run, headed by its name and the options in which it differs, and the caption."""
    table, several = cells(comparison, "\n"), len(comparison.runs) > 1
    table = table._replace(header=[head.replace(" ", "\n") for head in table.header])
    options = differences([results["config"] for results in comparison.runs.values()])
    for (label, results), given in zip(comparison.runs.items(), options):
        config, images = results["config"], f"{results['test_images']:,} test images"
        title = f"{label}  {given}" if several else f"{config['model']} on {config['dataset']}, {images}"
        rows = [row for row in table.rows if not several or row[0] == label]
        print_table(table._replace(rows=rows).part(range(several, len(table.header))), console, title.rstrip())
        console.print()
    for sentence in caption(comparison):
        console.print(Text(sentence, style="italic"))


def show(results: dict[str, Any], folder: Path) -> None:
    """Print the table of a run and where everything lies."""
    console = Console()
    print_comparison(Comparison({folder.name: results}), console)
    console.print(f"report: {folder / 'report.html'}", soft_wrap=True, markup=False, highlight=False)
