"""`python thesis/build.py [FOLDER]` (or `make thesis`): compile the thesis to thesis.pdf and thesis.html, offline.

The bytes are the same each time: no date, and the fonts that the typst package brings along, none of the machine's.
Numbers, tables and figures are those of results/; what has none yet is left out of the text, and named.
"""

import json
import sys
import tomllib
from pathlib import Path

import typst

SOURCE = Path(__file__).with_name("thesis.typ")
ROOT = Path(__file__).parents[1]


def inputs(source: Path) -> dict[str, str]:
    """Return what the text cannot find out by itself: which results there are."""
    return {"recorded": ",".join(sorted(path.stem for path in (source.parent / "results").glob("*.json")))}


def figures(source: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Return name -> SVG of the figures of the results that there are, and name -> why not of the others.

    ValueError names a file of results that cannot be read.
    """
    if not inputs(source)["recorded"]:
        return {}, {}
    sys.path[:0] = [] if str(ROOT) in sys.path else [str(ROOT)]
    from experiments.figures.draw import all_svg

    return all_svg()


def missing(source: Path) -> list[str]:
    """Return the experiments of the manifest that have no results yet, and so no place in the text."""
    manifest = source.with_name("runs.toml")
    entries = tomllib.loads(manifest.read_text(encoding="utf-8")) if manifest.is_file() else {}
    return [name for name in entries if name not in inputs(source)["recorded"].split(",")]


def build(folder: Path) -> list[Path]:
    """Write thesis.pdf and thesis.html into the folder; ValueError says where the text cannot be compiled."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in missing(SOURCE):
        sys.stderr.write(f"left out: what stands on {name}, python -m experiments.reproduce {name} gives it\n")
    drawn, left = figures(SOURCE)
    for name, why in left.items():
        sys.stderr.write(f"left out: figure {name}, {why}\n")
    given = {**inputs(SOURCE), "figures": json.dumps(drawn)}
    compiler = typst.Compiler(str(SOURCE), root=str(SOURCE.parent), ignore_system_fonts=True, sys_inputs=given)
    written = [folder / "thesis.pdf", folder / "thesis.html"]
    for path in written:
        try:
            content, warnings = compiler.compile_with_warnings(format=path.suffix[1:])
        except typst.TypstError as error:
            raise ValueError(f"the thesis must compile, got {error.diagnostic or error}") from None
        ours = [str(warning.message) for warning in warnings]
        if path.suffix == ".html":  # what pages are made of has no place there
            ours = [words for words in ours if "HTML export" not in words and "html export" not in words]
        if ours:
            raise ValueError(f"the thesis must compile without a warning, got {'; '.join(ours)}")
        path.write_bytes(content)
    return written


if __name__ == "__main__":
    try:
        sys.stdout.writelines(f"{path}\n" for path in build(Path(sys.argv[1]) if len(sys.argv) > 1 else SOURCE.parent))
    except ValueError as error:
        sys.exit(str(error))
