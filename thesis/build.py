"""`python thesis/build.py [FOLDER]` (or `make thesis`): compile the thesis to thesis.pdf and thesis.html, offline.

The bytes are the same each time: no date, and the fonts that the typst package brings along, none of the machine's.
"""

import sys
from pathlib import Path

import typst

SOURCE = Path(__file__).with_name("thesis.typ")


def inputs(source: Path) -> dict[str, str]:
    """Return what the text cannot find out by itself: which results there are."""
    return {"recorded": ",".join(sorted(path.stem for path in (source.parent / "results").glob("*.json")))}


def build(folder: Path) -> list[Path]:
    """Write thesis.pdf and thesis.html into the folder; ValueError says where the text cannot be compiled."""
    folder.mkdir(parents=True, exist_ok=True)
    compiler = typst.Compiler(str(SOURCE), root=str(SOURCE.parent), ignore_system_fonts=True, sys_inputs=inputs(SOURCE))
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
