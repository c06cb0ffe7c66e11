"""One page of HTML for every verb: the blocks that it is made of, and what draws them.

    from ..lab.reporting.page import Code, Grid, Page, Plot, Section, render

Self-contained: plotly.js and DataTables (the bundle of itables) stand in the page, which asks no network for anything.
"""

from .blocks import (
    Block as Block,
    Code as Code,
    Columns as Columns,
    Fold as Fold,
    Grid as Grid,
    Legend as Legend,
    Page as Page,
    Plot as Plot,
    Prose as Prose,
    Section as Section,
)
from .render import render as render
