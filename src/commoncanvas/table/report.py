"""An import's report on the rows that it skips or changes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice

from commoncanvas.core.redact import redacted
from commoncanvas.table.tombstones import Keys

COMPLAINTS = 10
"""Rows that are named per reason. All are counted."""


@dataclass
class Report:
    """Counts of skipped and changed rows by reason; the first of each are named in `complaints`."""

    skipped: Counter[str] = field(default_factory=Counter)
    remarks: Counter[str] = field(default_factory=Counter)
    complaints: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    taken_down: Keys = field(default_factory=Keys)
    """Keys of the rows that were taken down after the imported export was made."""
    _named: Counter[str] = field(default_factory=Counter)

    def skip(self, where: str, reason: str, detail: str = "") -> None:
        """Count a skipped row; `where` is its place, such as `metadata.csv:17`."""
        self.skipped[reason] += 1
        self._complain(where, reason, detail)

    def skip_many(self, reason: str, count: int, named: Iterable[tuple[str, str]]) -> None:
        """Count `count` skipped rows. `named`: (where, detail) of each; only the first ones are read."""
        if count:
            self.skipped[reason] += count
            for where, detail in islice(named, COMPLAINTS - self._named[reason]):
                self._complain(where, reason, detail)

    def remark(self, where: str, reason: str, detail: str = "") -> None:
        """Count a row that was changed and kept."""
        self.remarks[reason] += 1
        self._complain(where, reason, detail)

    def note(self, text: str) -> None:
        self.notes.append(text)

    def _complain(self, where: str, reason: str, detail: str) -> None:
        if self._named[reason] < COMPLAINTS:
            self._named[reason] += 1
            self.complaints.append(redacted(f"{where}: {reason}{f' ({detail})' if detail else ''}"))
