"""What an import says of the rows that it leaves out or changes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice

from commoncanvas.core.redact import redacted
from commoncanvas.table.tombstones import Keys

COMPLAINTS = 10
"""So many rows of a kind are named one by one; all are counted."""


@dataclass
class Report:
    """What was said of rows while they went by: those that were left out, by reason, and the first of them by name."""

    skipped: Counter[str] = field(default_factory=Counter)
    remarks: Counter[str] = field(default_factory=Counter)
    complaints: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    taken_down: Keys = field(default_factory=Keys)
    """What the rows of an export are recognised by that was made before they were taken down."""
    _named: Counter[str] = field(default_factory=Counter)

    def skip(self, where: str, reason: str, detail: str = "") -> None:
        """Count a row under `reason`; `where` names it, such as `metadata.csv:17`."""
        self.skipped[reason] += 1
        self._complain(where, reason, detail)

    def skip_many(self, reason: str, count: int, named: Iterable[tuple[str, str]]) -> None:
        """Count rows under one `reason`; of `named`, (where, detail) of each, only the first are looked at."""
        if count:
            self.skipped[reason] += count
            for where, detail in islice(named, COMPLAINTS - self._named[reason]):
                self._complain(where, reason, detail)

    def remark(self, where: str, what: str, detail: str = "") -> None:
        """Count a row that is kept, but not as it was written."""
        self.remarks[what] += 1
        self._complain(where, what, detail)

    def note(self, text: str) -> None:
        self.notes.append(text)

    def _complain(self, where: str, what: str, detail: str) -> None:
        if self._named[what] < COMPLAINTS:
            self._named[what] += 1
            self.complaints.append(redacted(f"{where}: {what}{f' ({detail})' if detail else ''}"))
