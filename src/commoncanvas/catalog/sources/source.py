"""What a source is: something that yields rows for the catalog, and says which of its rows it can't use."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from commoncanvas.errors import SourceError

COMPLAINTS = 50
"""So many rows are named one by one; all are counted."""


class Source(Protocol):
    """Streams rows: each a dict of base columns, with at least `image_id` ("source:id") and `source`."""

    name: str

    def rows(self, report: Report) -> Iterator[Mapping[str, Any]]:
        """Yield rows; every row of the input that isn't yielded is given to `report.skip`."""


@dataclass
class Report:
    """What a source had to say while its rows went by."""

    skipped: Counter[str] = field(default_factory=Counter)
    remarks: Counter[str] = field(default_factory=Counter)
    complaints: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def skip(self, where: str, reason: str, detail: str = "") -> None:
        """Count a row under `reason`; `where` names it, such as `metadata.csv:17`."""
        self.skipped[reason] += 1
        self._complain(where, reason, detail)

    def remark(self, where: str, what: str, detail: str = "") -> None:
        """Count a row that is kept, but not as it was written."""
        self.remarks[what] += 1
        self._complain(where, what, detail)

    def note(self, text: str) -> None:
        self.notes.append(text)

    def _complain(self, where: str, what: str, detail: str) -> None:
        if len(self.complaints) < COMPLAINTS:
            self.complaints.append(f"{where}: {what}{f' ({detail})' if detail else ''}")


@dataclass(frozen=True)
class SourceOptions:
    """What the user said about a source; each source takes those that mean something to it."""

    path: Path | None = None
    metadata: Path | None = None
    license: str | None = None
    creator: str | None = None
    name: str | None = None
    label_column: str | None = None

    def only(self, source: str, *taken: str) -> SourceOptions:
        """Itself. Raises SourceError if an option is set that `source` doesn't take."""
        for option, value in vars(self).items():
            if value is not None and option not in taken:
                raise SourceError(f"source {source} takes no {option.replace('_', '-')}; leave {value} out")
        return self
