"""The protocol of a source: it yields rows for the catalog, and reports the rows that it can't use."""

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
"""Approximate limit for the images and texts of a batch."""


class Source(Protocol):
    """Streams rows in batches of base columns. At least `image_id` ("source:id") and `source` are set."""

    name: str
    columns: tuple[pa.Field, ...]
    """Columns of its rows besides the base columns, such as captions from the source."""

    def batches(self, report: Report) -> Iterator[pa.RecordBatch]:
        """Yield rows. Every row of the input that isn't yielded goes to `report.skip`."""


class RowSource(ABC):
    """A source that makes its rows one by one. This is fast enough for a few million rows."""

    name: str
    columns: tuple[pa.Field, ...] = ()

    @abstractmethod
    def rows(self, report: Report) -> Iterator[Mapping[str, Any]]:
        """Yield rows as dicts with base columns and `columns`. Every other row of the input goes to `report.skip`.

        If `columns` has COUNTRY, rows may have `countries.PLACE`; `batches` replaces it by a country.
        """

    def batches(self, report: Report) -> Iterator[pa.RecordBatch]:
        for chunk in _chunks(self.rows(report)):
            yield to_batch(settle(chunk, report) if COUNTRY in self.columns else chunk, self.columns)


def _chunks(rows: Iterator[Mapping[str, Any]]) -> Iterator[list[Mapping[str, Any]]]:
    """Group rows into lists of at most BATCH_ROWS rows and about BATCH_BYTES bytes. No list is empty.

    If the input becomes unreadable, the rows before that place are yielded first, then the error is raised.
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
    """Options from the user. Each source accepts only some of them."""

    paths: tuple[Path, ...] = ()
    metadata: Path | None = None
    license: str | None = None
    creator: str | None = None
    name: str | None = None
    label_column: str | None = None
    policy: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    """Catalog's name of a column -> input's name."""
    size: int | None = None
    """Pixels of the longest side of stored images, for a source that contains images."""
    follow_links: bool = False
    """Use files outside of the folder that symbolic links in it lead to."""

    @property
    def path(self) -> Path | None:
        """The path, for a source that takes only one. Raises SourceError if there are more."""
        if len(self.paths) > 1:
            raise SourceError(
                f"give one path instead of {len(self.paths)}: {', '.join(map(str, self.paths))[:200]}"
            )
        return self.paths[0] if self.paths else None

    def mapping(self, *names: str) -> dict[str, str]:
        """`columns`. Raises SourceError if it has a catalog name that is not in `names`."""
        for name in self.columns:
            if name not in names:
                raise SourceError(f"column {name} can't be mapped; these can: {', '.join(names)}")
        return dict(self.columns)

    def only(self, source: str, *taken: str) -> SourceOptions:
        """Return itself. Raises SourceError if an option is set that `source` doesn't accept."""
        for option, value in vars(self).items():
            if value not in (None, False, (), {}) and option not in taken:
                shown = " ".join(map(str, value)) if isinstance(value, tuple) else value
                raise SourceError(f"source {source} takes no {option.replace('_', '-')}; remove {shown}")
        return self
