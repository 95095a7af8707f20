"""The page about a column of captions: figures, and the best and worst captions with their images and credits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from commoncanvas.captioning.quality.result import CaptionReport, Scored, agreement
from commoncanvas.captioning.quality.rules import RULES
from commoncanvas.catalog import Catalog
from commoncanvas.catalog.credits import COLUMNS, Credit, credit
from commoncanvas.core.text import clean
from commoncanvas.images.thumbnail import thumbnail
from commoncanvas.pages.histogram import histogram, trimmed
from commoncanvas.pages.report import bars, write_page

LONGEST = 60
"""Captions with this many words or more are counted together."""


def write_captions_page(found: CaptionReport, out: str | Path) -> None:
    """Write the page about `found` to `out`. All text is escaped, and only http(s) URLs become links.

    Raises CatalogError, or CommonCanvasError if the page can't be written.
    """
    catalog = Catalog.open(found.uri, version=found.version)
    rules = {f"{name}: {RULES[name][1]}": count for name, count in found.taken_by.items()}
    write_page(
        out,
        "captions.html.j2",
        r=found,
        name=clean(catalog.uri.rstrip("/").rpartition("/")[2]),
        notes=[line for line in agreement(found) if not line.startswith(("CLIP", "sentence"))],
        lengths=_lengths(found.lengths),
        statuses=bars(found.statuses),
        openings=bars(_clean(found.top_openings)),
        boilerplate=bars(_clean(found.top_boilerplate)),
        captions=bars(_clean(found.top_captions)),
        rules=bars(rules),
        best=_shown(catalog, found.best),
        worst=_shown(catalog, found.worst),
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
    """The same counts with names that are safe to show. Names that become equal are counted together."""
    cleaned: dict[str, int] = {}
    for name, count in counts.items():
        shown = clean(name) or "(nothing)"
        cleaned[shown] = cleaned.get(shown, 0) + count
    return cleaned


def _shown(catalog: Catalog, scored: Sequence[Scored]) -> list[tuple[Scored, str, Credit, bytes | None]]:
    """Each caption with its safe text, the image's credit and a WebP thumbnail."""
    rows = catalog.take(np.array([one.row_id for one in scored], np.uint64), [*COLUMNS, "image"]).to_pylist()
    return [
        (one, clean(one.caption) or "", credit(row), thumbnail(row["image"]))
        for one, row in zip(scored, rows, strict=True)
    ]
