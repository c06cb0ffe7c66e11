"""What a page is made of: text, figures, tables, commands, and what gathers them.  `render` turns them into HTML."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import plotly.graph_objects as go

from ..tables import Table


class Prose(NamedTuple):
    """Sentences."""

    text: str


class Code(NamedTuple):
    """Text in a fixed pitch, with a button that copies it."""

    text: str
    label: str  # of the button's purpose, for who cannot see it


class Plot(NamedTuple):
    """A figure of plotly; `alt` says in words what it shows.  A wide one scrolls sideways where there is no room."""

    figure: go.Figure
    alt: str
    title: str = ""
    note: str = ""
    wide: bool = False


class Legend(NamedTuple):
    """The colour and marker of each network or kernel, once for several figures."""

    names: Sequence[str]


class Grid(NamedTuple):
    """A table that can be sorted by each column and filtered.

    order: what each cell is sorted by, in place of its words.  copies: name of a format -> the table in it.
    names: the first column has names of networks, which get their colours.  best: the row that is recommended.
    """

    table: Table
    caption: str
    order: Sequence[Sequence[float | str | None]] | None = None
    copies: Mapping[str, str] = {}
    names: int | None = None  # the column of networks
    best: int | None = None
    controls: bool = True


class Columns(NamedTuple):
    """Blocks side by side, where there is room for them."""

    blocks: Sequence["Block"]


class Fold(NamedTuple):
    """Blocks behind a line that opens them."""

    title: str
    blocks: Sequence["Block"]
    open: bool = False
    name: str = ""  # of a network, whose marker stands before the title


Block = Prose | Code | Plot | Legend | Grid | Columns | Fold


class Section(NamedTuple):
    """A heading, a sentence on how to read what follows, and that."""

    title: str
    blocks: Sequence[Block]
    note: str = ""


class Page(NamedTuple):
    """A title, what the numbers say in two sentences, the figures that matter, and the sections.

    facts: a number and what it is, large, below the sentences.
    """

    title: str
    headline: str
    sentences: Sequence[str]
    sections: Sequence[Section]
    facts: Sequence[tuple[str, str]] = ()
    name: str = ""  # of the network that is recommended
    footer: str = ""
