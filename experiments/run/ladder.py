"""Print the ladder of a row: what every step of a compression cost and gained, from the dense network down."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console

from ..lab.reporting.page.ladder import ladder_table
from ..lab.reporting.tables import print_table


def print_ladders(results: Mapping[str, Any], console: Console) -> None:
    """Print the ladder of each row of more than one step, or that `--compress` made."""
    named = bool(results["config"].get("compress"))
    for row in results["rows"]:
        if len(row.get("ladder", ())) > (1 if named else 2):
            console.print()
            table = ladder_table(row, results["latency_batches"])
            print_table(
                table._replace(header=[head.replace(" ", "\n") for head in table.header]), console, row["network"]
            )
