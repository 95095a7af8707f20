"""Count the statuses that a stage wrote."""

from __future__ import annotations

from collections import Counter

from commoncanvas.table.table import Catalog

SCAN_ROWS = 65_536


def status_counts(
    catalog: Catalog, column: str, where: str | None = None, missing: str | None = None
) -> dict[str, int]:
    """Status in `column` -> rows that meet `where`, the most frequent first. Rows without a status count as `missing`;
    they are left out if it is None.
    """
    counts: Counter[str] = Counter()
    for batch in catalog.scan([column], where, SCAN_ROWS):
        for found in batch[column].value_counts().to_pylist():
            if status := found["values"] or missing:
                counts[status] += found["counts"]
    return dict(counts.most_common())
