"""What a source is: something that yields rows for the catalog, and says which of its rows it can't use."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa

from commoncanvas.catalog.importing.sources.countries import settle
from commoncanvas.core.errors import SourceError
from commoncanvas.table.report import Report
from commoncanvas.table.schema import COUNTRY, to_batch

BATCH_ROWS = 4096
BATCH_BYTES = 64 << 20
"""Of a batch's images and texts, about."""


class Source(Protocol):
    """Streams rows in batches of base columns, with at least `image_id` ("source:id") and `source` set."""

    name: str
    columns: tuple[pa.Field, ...]
    """Columns that its rows have beyond the base ones, such as captions that came with them."""

    def batches(self, report: Report) -> Iterator[pa.RecordBatch]:
        """Yield rows; every row of the input that isn't yielded is given to `report.skip`."""


class RowSource(ABC):
    """A source that makes its rows one by one, which is quick enough for up to some millions."""

    name: str
    columns: tuple[pa.Field, ...] = ()

    @abstractmethod
    def rows(self, report: Report) -> Iterator[Mapping[str, Any]]:
        """Yield rows, each a dict of base columns and of `columns`; what isn't yielded goes to `report.skip`.

        Where `columns` has COUNTRY, rows may have `countries.PLACE`, which `batches` turns into a country and drops.
        """

    def batches(self, report: Report) -> Iterator[pa.RecordBatch]:
        for chunk in _chunks(self.rows(report)):
            yield to_batch(settle(chunk, report) if COUNTRY in self.columns else chunk, self.columns)


def _chunks(rows: Iterator[Mapping[str, Any]]) -> Iterator[list[Mapping[str, Any]]]:
    """Lists of BATCH_ROWS rows; fewer where they would hold much more than BATCH_BYTES. Empty ones never.

    Where the input can't be read any further, the rows before that place come first, and then the error.
    """
    waiting: list[Mapping[str, Any]] = []
    size = 0
    try:
        for row in rows:
            waiting.append(row)
            size += sum(len(value) for value in row.values() if isinstance(value, str | bytes))
            if len(waiting) == BATCH_ROWS or size >= BATCH_BYTES:
                yield waiting
                waiting, size = [], 0
    except Exception:
        if waiting:
            yield waiting
        raise
    if waiting:
        yield waiting


@dataclass(frozen=True)
class SourceOptions:
    """What the user said about a source; each source takes those that mean something to it."""

    paths: tuple[Path, ...] = ()
    metadata: Path | None = None
    license: str | None = None
    creator: str | None = None
    name: str | None = None
    label_column: str | None = None
    policy: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    """What the catalog calls a column -> what the input calls it."""
    size: int | None = None
    """Pixels of the longest side that images are stored at, for a source that brings them along."""
    follow_links: bool = False
    """Take what symbolic links out of the folder lead to."""

    @property
    def path(self) -> Path | None:
        """The one path, for a source that takes one. Raises SourceError if there are more."""
        if len(self.paths) > 1:
            raise SourceError(
                f"give one path, not {len(self.paths)}: {', '.join(map(str, self.paths))[:200]}"
            )
        return self.paths[0] if self.paths else None

    def mapping(self, *names: str) -> dict[str, str]:
        """`columns`. Raises SourceError if it has other names of the catalog's than `names`."""
        for name in self.columns:
            if name not in names:
                raise SourceError(f"there is no column {name} to map; there are: {', '.join(names)}")
        return dict(self.columns)

    def only(self, source: str, *taken: str) -> SourceOptions:
        """Itself. Raises SourceError if an option is set that `source` doesn't take."""
        for option, value in vars(self).items():
            if value not in (None, False, (), {}) and option not in taken:
                shown = " ".join(map(str, value)) if isinstance(value, tuple) else value
                raise SourceError(f"source {source} takes no {option.replace('_', '-')}; leave {shown} out")
        return self
