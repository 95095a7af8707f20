"""What `encode` did."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from commoncanvas.core.console import Printed
from commoncanvas.core.tables import headed

if TYPE_CHECKING:
    from rich.console import RenderableType


@dataclass(frozen=True)
class EncodedColumn:
    """A column that `encode` filled.

    `catalog`: its name in the recipe. `rows`: rows that were computed now. `texts_cut`: of `texts_counted` texts, those
    that are longer than the encoder reads. `mean`, `std`: of each channel [C] of the scaled latents.
    """

    catalog: str
    column: str
    rows: int
    texts_counted: int = 0
    texts_cut: int = 0
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()


@dataclass(frozen=True, repr=False)
class Encoded(Printed):
    """The columns that `encode` filled, catalog by catalog."""

    columns: tuple[EncodedColumn, ...]

    def __iter__(self) -> Iterator[EncodedColumn]:
        return iter(self.columns)

    def __getitem__(self, name: str) -> EncodedColumn:
        """The first catalog's column `name`. Raises KeyError."""
        for each in self.columns:
            if each.column == name:
                return each
        raise KeyError(name)

    def render(self) -> RenderableType:
        from rich.text import Text

        table = headed("column", "catalog", "rows", "texts cut", "mean", "deviation")
        for each in self.columns:
            cut = f"{each.texts_cut:,} of {each.texts_counted:,}" if each.texts_counted else ""
            table.add_row(
                Text(each.column),
                Text(each.catalog),
                f"{each.rows:,}",
                cut,
                _joined(each.mean),
                _joined(each.std),
            )
        return table


def _joined(values: Sequence[float]) -> str:
    return " ".join(f"{value:.2f}" for value in values)
