"""What `caption` returns, and its table for the terminal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from commoncanvas.core.console import Printed
from commoncanvas.core.tables import count_table
from commoncanvas.core.text import clean, counted

if TYPE_CHECKING:
    from rich.console import RenderableType


@dataclass(frozen=True, repr=False)
class CaptionResult(Printed):
    """Result of captioning: this run wrote `captions` into `column`. `captioner` is the model's name. `statuses` counts
    all rows that meet the condition, after the run.
    """

    captions: int
    captioner: str
    column: str
    statuses: dict[str, int]
    compared: int = 0
    """Captions that are compared with the titles of the same images. If 0, the next three are None."""
    caption_cosine: float | None = None
    """Mean sentence cosine between captions and titles."""
    caption_cosine_shuffled: float | None = None
    """The same between captions and the titles of other images."""
    distinct_captions: int | None = None
    """Different captions among those compared."""

    def render(self) -> RenderableType:
        """What the terminal shows: the number of captions, the statuses, and how well captions fit titles."""
        from rich.console import Group
        from rich.text import Text

        lines = [f"{counted(self.captions, 'captions')} by {clean(self.captioner)} in column {self.column}"]
        if self.compared:
            lines.append(
                f"sentence cosine with titles: {self.caption_cosine:.3f}, shuffled "
                f"{self.caption_cosine_shuffled:.3f}; {self.distinct_captions:,} of {self.compared:,} captions differ"
            )
        table = count_table("status", self.statuses, sum(self.statuses.values()))
        return Group(*map(Text, lines), *([table] if table else []))
