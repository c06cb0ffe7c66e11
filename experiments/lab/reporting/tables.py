"""One table of words and numbers, as Markdown and on a terminal of any width."""

import textwrap
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from typing import Literal, NamedTuple

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console
from rich.padding import Padding
from rich.table import Table as RichTable
from rich.text import Text

Format = Literal["text", "md"]
GAP = 2  # blanks between two columns
FORMAT: ContextVar[Format] = ContextVar(
    "format", default="text"
)  # of tables that are printed; the door of verbs sets it


class Table(NamedTuple):
    """A header and rows of as many cells; a cell may have several lines.

    left: so many columns hold words, which stand on the left and may be wrapped between words; the others hold numbers.
    short: rows that fall short of what is asked, by number.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    left: int = 1
    short: frozenset[int] = frozenset()

    def part(self, columns: Sequence[int]) -> "Table":
        """Return the table of some columns, of which those of words are still on the left."""
        rows = [[row[column] for column in columns] for row in self.rows]
        words = sum(column < self.left for column in columns)
        return Table([self.header[column] for column in columns], rows, words, self.short)


def markdown(table: Table) -> str:
    """Return the table in GitHub's Markdown."""
    rule = ["---"] * table.left + ["---:"] * (len(table.header) - table.left)
    lines = [[_one_line(cell) for cell in row] for row in (table.header, rule, *table.rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _one_line(cell: str) -> str:
    return cell.replace("|", "\\|").replace("\n", " ")


def print_table(table: Table, console: Console, title: str = "") -> None:
    """Print the table so that no word and no number is broken, whatever the terminal's width.

    Columns that do not fit stand in further tables below, each with the words of its rows.  Where not even one column
    fits beside the words, every row is a paragraph that begins with its name.  With --format md it is Markdown.
    """
    if FORMAT.get() == "md":
        console.print(Text("\n\n".join([*[title] * bool(title), markdown(table)])), soft_wrap=True)
        return
    if title:
        lines = textwrap.fill(title, console.width, break_long_words=False, break_on_hyphens=False)
        console.print(Text(lines, style="italic"), soft_wrap=True)
    fitting = list(_fitting(table, console.width))
    for number, (part, widths) in enumerate(fitting):
        console.print(*[""] * (number > 0), _rich(part, widths), sep="\n")
    if not fitting:
        for name, *cells in table.rows:
            console.print(Text(name), soft_wrap=True)
            words = (f"{head} {cell}".replace("\n", " ") for head, cell in zip(table.header[1:], cells) if cell)
            console.print(Padding(Text(", ".join(words)), (0, 0, 0, 2)))


def _fitting(table: Table, width: int) -> Iterator[tuple[Table, list[int]]]:
    """Yield parts of the table at most `width` wide, with the width of each column; none if a part cannot be so."""
    words, rest = list(range(table.left)), list(range(table.left, len(table.header)))
    parts: list[tuple[Table, list[int]]] = []
    while rest or not parts:
        for count in range(len(rest), -1, -1):
            part = table.part([*words, *rest[:count]])
            if (count or not rest) and (widths := _widths(part, width)) is not None:
                break
        else:
            return
        parts.append((part, widths))
        rest = rest[count:]
    yield from parts


def _widths(table: Table, width: int) -> list[int] | None:
    """Return each column's width, words wrapped as far as the table must shrink; None if it is still too wide then."""
    columns = [[head, *cells] for head, *cells in zip(table.header, *table.rows)]
    widths = [max(cell_len(line) for cell in column for line in cell.split("\n")) for column in columns]
    least = list(widths)
    for number, column in enumerate(columns[: table.left]):
        least[number] = max((cell_len(word) for cell in column for word in cell.split()), default=0)
    room = width - GAP * (len(columns) - 1)
    if sum(least) > room:
        return None
    while sum(widths) > room:
        widest = max((n for n in range(len(widths)) if widths[n] > least[n]), key=lambda n: widths[n])
        widths[widest] -= 1
    return widths


def _rich(table: Table, widths: Sequence[int]) -> RichTable:
    drawn = RichTable(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, GAP - 1, 0, 0))
    for number, (head, width) in enumerate(zip(table.header, widths)):
        drawn.add_column(Text(head), justify="left" if number < table.left else "right", width=width)
    for number, row in enumerate(table.rows):
        style = "bold red" if number in table.short else None
        drawn.add_row(*(Text(cell) for cell in row), style=style)
    return drawn
