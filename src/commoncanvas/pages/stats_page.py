"""The page of a catalog's statistics: one HTML file with figures, plots and random thumbnails with credits."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from commoncanvas import licenses
from commoncanvas.catalog import Catalog, CatalogStats, stats
from commoncanvas.catalog.credits import COLUMNS, Credit, credit
from commoncanvas.catalog.stats.command import TOP
from commoncanvas.catalog.stats.dropped import Dropped, FilterSteps
from commoncanvas.catalog.stats.result import pixels, places
from commoncanvas.catalog.tally import Sample
from commoncanvas.core.errors import CatalogError
from commoncanvas.core.numbers import ratio, size
from commoncanvas.core.text import clean
from commoncanvas.images.thumbnail import SIDE, thumbnail
from commoncanvas.pages.histogram import histogram, trimmed, window
from commoncanvas.pages.report import bars, write_page

THUMBNAILS = 48
POLICIES = ("commercial", "noncommercial", "neither")


@dataclass(frozen=True)
class Released:
    """What a data set has of its catalog: its columns, and the bytes of its shards."""

    name: str
    columns: Collection[str]
    bytes: int


def write_stats_page(
    catalog: Catalog | str | Path,
    out: str | Path,
    *,
    where: str | None = None,
    row_ids: NDArray[np.uint64] | None = None,
    release: Released | None = None,
    seed: int = 0,
    thumbnails: int = THUMBNAILS,
) -> CatalogStats:
    """Count the rows that meet the SQL `where`, and write the page to `out`; returns the statistics on it.

    `row_ids`: only these of the rows. `release`: the data set that they are. The page then has its columns and bytes,
    and neither `where` nor the saved filters, which may name people.

    Thumbnails are chosen at random from all stored images whose licence lets anyone use them. The same `seed` and
    catalog give the same thumbnails. All text is escaped, and only http(s) URLs become links.
    Raises CatalogError, or CommonCanvasError if the page can't be written.
    """
    if seed < 0:
        raise CatalogError(f"seed {seed} is negative; give 0 or more")
    if not isinstance(catalog, Catalog):
        catalog = Catalog.open(catalog)
    sample = Sample(thumbnails, seed)
    found = stats(catalog, where=where, row_ids=row_ids, sample=sample)
    filters = () if release else found.dropped.filters
    filled = {
        name: count for name, count in found.filled.items() if release is None or name in release.columns
    }
    write_page(
        out,
        "stats.html.j2",
        s=found,
        name=clean(release.name if release else catalog.uri.rstrip("/").rpartition("/")[2]),
        release=release,
        where=None if release else found.where,
        filters=filters,
        any_left_out=_any_left_out(found.dropped, filters),
        policies=[found.by_policy[name] for name in POLICIES],
        licenses={one.name: licenses.parse(one.name) for one in found.by_license},
        sources=bars(_clean(found.sources)),
        statuses=bars(_clean(found.fetch_statuses)),
        creators=[(one, one.images / found.top_creators[0].images) for one in found.top_creators],
        cameras=bars(_clean(found.top_cameras), most=len(found.top_cameras)),
        countries=_in_order(_clean(places(found, TOP))),
        columns=[(name, count, ratio(count, found.rows)) for name, count in _clean(filled).items()],
        charts=_charts(found),
        dated=sum(found.years.values()),
        sized=sum(found.aspects.values()),
        sheet=_sheet(catalog, sample),
        thumbnails=thumbnails,
        side=SIDE,
        seed=seed,
        size=size,
        pixels=pixels,
    )
    return found


def _any_left_out(dropped: Dropped, filters: Sequence[FilterSteps]) -> bool:
    """Whether a count of the section on what was left out is above 0."""
    imports = (one.refused or any(one.skipped.values()) for one in dropped.imports)
    steps = (step.commercial or step.noncommercial for each in filters for step in each.steps)
    others = (dropped.taken_down, dropped.duplicates, *dropped.not_fetched.values())
    return any((*imports, *others, *steps))


def _charts(found: CatalogStats) -> dict[str, str]:
    """Name -> SVG, without empty charts."""
    bars = {
        "years": window(found.years, datetime.now(UTC).year),
        "short_sides": trimmed(_sides(found.short_sides)),
        "long_sides": trimmed(_sides(found.long_sides)),
        "aspects": list(found.aspects.items()) if any(found.aspects.values()) else [],
    }
    titles = {
        "years": "Images by the year in which they were taken",
        "short_sides": "Images by the shorter side of the original, pixels",
        "long_sides": "Images by the longer side of the original, pixels",
        "aspects": "Images by their ratio of width to height",
    }
    return {name: histogram(each, titles[name]) for name, each in bars.items() if each}


def _sides(sides: Mapping[int, int]) -> list[tuple[str, int]]:
    return [(f"{edge:,}+", count) for edge, count in sides.items()]


def _clean(counts: Mapping[str, int]) -> dict[str, int]:
    """The same counts with names that are safe to show. Names that become equal are counted together."""
    cleaned: dict[str, int] = {}
    for name, count in counts.items():
        shown = clean(name) or "no name"
        cleaned[shown] = cleaned.get(shown, 0) + count
    return cleaned


def _in_order(counts: Mapping[str, int]) -> list[tuple[str, int, float]]:
    """(name, count, fraction of the largest count), in the given order."""
    largest = max(counts.values(), default=0) or 1
    return [(name, count, count / largest) for name, count in counts.items()]


def _sheet(catalog: Catalog, sample: Sample) -> list[tuple[Credit, bytes]]:
    """Credit and WebP thumbnail of each readable image in the sample."""
    found = []
    for row in catalog.take(sample.row_ids, [*COLUMNS, "image"]).to_pylist() if len(sample.row_ids) else []:
        small = thumbnail(row.pop("image"))
        if small is not None:
            found.append((credit(row), small))
    return found
