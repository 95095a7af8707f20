"""The page of a column of captions: its figures, and the best and worst with their pictures and credits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from commoncanvas.app.histogram import histogram, trimmed
from commoncanvas.app.report import bars, write_page
from commoncanvas.app.stats_page import thumbnail
from commoncanvas.catalog import Catalog
from commoncanvas.catalog.credits import COLUMNS, Credit, clean, credit
from commoncanvas.telephoning.report import CaptionReport
from commoncanvas.telephoning.report_table import summary
from commoncanvas.telephoning.rules import RULES

LONGEST = 60
"""Words from which on captions are counted together."""


def write_captions_page(found: CaptionReport, out: str | Path) -> None:
    """Write the page of `found` at `out`. All text is escaped, and only http(s) links are made.

    Raises CatalogError, or CommonCanvasError where the page can't be written.
    """
    catalog = Catalog.open(found.uri, version=found.version)
    rules = {f"{name}: {RULES[name][1]}": count for name, count in found.taken_by.items()}
    write_page(
        out,
        "captions.html.j2",
        r=found,
        name=clean(catalog.uri.rstrip("/").rpartition("/")[2]),
        lines=summary(found)[1:],
        lengths=_lengths(found.lengths),
        statuses=bars(found.statuses),
        openings=bars(_clean(found.top_openings)),
        captions=bars(_clean(found.top_captions)),
        rules=bars(rules),
        best=_shown(catalog, found.column, found.best),
        worst=_shown(catalog, found.column, found.worst),
    )


def _lengths(lengths: Mapping[int, int]) -> str:
    if not lengths:
        return ""
    last = min(max(lengths), LONGEST)
    counts = [(str(length), lengths.get(length, 0)) for length in range(last)]
    counts.append(
        (f"{last}+" if max(lengths) > last else str(last), sum(n for k, n in lengths.items() if k >= last))
    )
    return histogram(trimmed(counts), "Captions by their number of words")


def _clean(counts: Mapping[str, int]) -> dict[str, int]:
    return {clean(name) or "(nothing)": count for name, count in counts.items()}


def _shown(
    catalog: Catalog, column: str, scored: Sequence[tuple[int, float]]
) -> list[tuple[str, float, Credit, bytes | None]]:
    """Caption, score, credit and WebP file of each."""
    if not scored:
        return []
    row_ids = np.array([row_id for row_id, _ in scored], np.uint64)
    rows = catalog.take(row_ids, [*COLUMNS, "image", column]).to_pylist()
    return [
        (clean(row[column]) or "", score, credit(row), thumbnail(row["image"]))
        for row, (_, score) in zip(rows, scored, strict=True)
    ]
