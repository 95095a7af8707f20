"""Tables that several commands print on the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from commoncanvas.core.text import clean

if TYPE_CHECKING:
    from rich.table import Table

SHOWN = 10
"""Most lines of a table; "…" stands for the others."""


def percent(count: int, of: int) -> str:
    return f"{100 * count / of:.1f}" if of else "—"


def headed(*names: str) -> Table:
    """A table with these headings. All columns except the first hold numbers."""
    from rich.table import Table

    table = Table(*names, box=None, header_style="bold", padding=(0, 2, 0, 0))
    for column in table.columns[1:]:
        column.justify = "right"
    return table


def count_table(
    title: str, counts: Mapping[str, int], rows: int, more: bool = False, of: str = "images"
) -> Any:
    """A table of names, their counts and percentages of `rows`, at most SHOWN lines; None if `counts` is empty.

    `of`: heading of the counts. `more`: there are names that `counts` lacks.
    """
    from rich.text import Text

    if not counts:
        return None
    table = headed(title, of, "%")
    shown = list(counts.items())
    if len(shown) > SHOWN:
        shown, more = shown[:SHOWN], True
    for name, count in shown:
        table.add_row(Text(clean(name) or ""), f"{count:,}", percent(count, rows))
    if more:
        table.add_row("…", "", "")
    return table
