"""An evaluation as the terminal shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from commoncanvas.core.text import counted
from commoncanvas.provenance.verdict import metric_rows, verdicts

if TYPE_CHECKING:
    from rich.console import RenderableType

    from commoncanvas.evaluation.command import Evaluation

NOTHING = (None, "—")


def render(found: Evaluation) -> RenderableType:
    """See `Evaluation.render`."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    figures = found.figures()
    sets = [("seen", found.seen), *([("held out", found.heldout)] if found.heldout else [])]
    table = Table("", *(name for name, _ in sets), "", box=None, header_style="bold", padding=(0, 2, 0, 0))
    for column in table.columns[1:-1]:
        column.justify = "right"

    def add(name: str, values: tuple[str | None, ...], says: str, style: str) -> None:
        shown = values[: len(sets)]
        if any(value not in NOTHING for value in shown):
            table.add_row(name, *(value or "" for value in shown), says, style=style)

    for row in metric_rows(figures):
        add(row["name"], row["values"], f"{row['says']}; {row['better']} is better", "bold")
        for name, *values in row["baselines"]:
            add(f"  {name}", tuple(values), "", "")
    prompts = " and ".join(f"{counted(each.prompts, 'prompts')} {name}" for name, each in sets)
    title = Text(
        f"{found.model}: {prompts}, guidance {found.guidance_scale:g}, {counted(found.steps, 'steps')}"
    )
    pictures = Text(f"pictures: {found.out}")
    return Group(title, Text(""), table, Text(""), *map(Text, verdicts(figures)), pictures)
