"""A built arena as the terminal shows it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from commoncanvas.core.console import Printed
from commoncanvas.core.tables import count_table, headed

if TYPE_CHECKING:
    from rich.console import RenderableType


@dataclass(frozen=True, repr=False)
class BuiltArena(Printed):
    """What is in an arena after `arena build`."""

    folder: str
    models: dict[str, int]
    """Images of each model."""
    prompts: int
    categories: dict[str, int]
    """Prompts of each category."""
    pairs: int
    new_pairs: int
    noise_pairs: int
    questions: tuple[str, ...]
    per_rater: int

    def render(self) -> RenderableType:
        from rich.console import Group
        from rich.text import Text

        table = headed("", "")
        table.show_header = False
        for name, count in self.models.items():
            table.add_row(Text(f"images of {name}"), f"{count:,}")
        table.add_row("prompts", f"{self.prompts:,}")
        table.add_row("pairs", f"{self.pairs:,}", style="bold")
        table.add_row("of which new", f"{self.new_pairs:,}")
        table.add_row("images against noise", f"{self.noise_pairs:,}")
        table.add_row("pairs for each rater", f"{self.per_rater:,}" if self.per_rater else "all")
        parts = [table]
        if set(self.categories) - {""}:
            named = {name or "(none)": count for name, count in self.categories.items()}
            parts.append(count_table("category", named, self.prompts, of="prompts"))
        return Group(*parts)
