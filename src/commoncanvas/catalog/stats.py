"""Statistics of a catalog: licences, sources, creators, what was fetched and what each stage has filled."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.compute as pc

from commoncanvas import licenses
from commoncanvas.catalog.credits import clean
from commoncanvas.catalog.schema import SCHEMA
from commoncanvas.catalog.table import Catalog
from commoncanvas.catalog.where import all_of

if TYPE_CHECKING:
    from rich.console import RenderableType

TOP_CREATORS = 10
NOT_STATED = "not stated"
PENDING = "pending"


@dataclass(frozen=True)
class CatalogStats:
    """Counts are of rows that the filter lets in, most first; bytes are of the whole table on disk."""

    uri: str
    version: int
    filter: str | None
    rows: int
    licenses: dict[str, int]
    sources: dict[str, int]
    fetch_statuses: dict[str, int]
    creators: int
    top_creators: dict[str, int]
    commercial: int
    """Rows that the policy `commercial` (CommonCanvas-C) lets in."""
    noncommercial: int
    """Rows that the policy `noncommercial` (CommonCanvas-NC) lets in."""
    mean_width: float | None
    mean_height: float | None
    mean_original_width: float | None
    mean_original_height: float | None
    filled: dict[str, int]
    """Rows with a value, for `label` and every column that a stage has added."""
    image_bytes: int
    total_bytes: int

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def render(self) -> RenderableType:
        """What the terminal shows."""
        from rich.columns import Columns
        from rich.console import Group
        from rich.text import Text

        filtered = f" where {self.filter}" if self.filter else ""
        summary = [
            f"{self.uri} version {self.version}{filtered}",
            f"{self.rows:,} images by {self.creators:,} creators; "
            f"{self.commercial:,} for commercial models (C), {self.noncommercial:,} for others (NC)",
            f"{_bytes(self.image_bytes)} of images, {_bytes(self.total_bytes)} in all",
        ]
        if self.mean_width and self.mean_height and self.mean_original_width and self.mean_original_height:
            summary.append(
                f"on average {self.mean_original_width:,.0f} × {self.mean_original_height:,.0f} pixels, "
                f"stored as {self.mean_width:,.0f} × {self.mean_height:,.0f}"
            )
        tables = [
            _table("licence", self.licenses, self.rows),
            _table("source", self.sources, self.rows),
            _table("fetch", self.fetch_statuses, self.rows),
            _table("creator", self.top_creators, self.rows),
            _table("column", self.filled, self.rows),
        ]
        first, *rest = (Text(line) for line in summary)
        first.stylize("bold", 0, len(self.uri))
        return Group(first, *rest, Columns([table for table in tables if table], padding=(1, 3)))


def stats(catalog: Catalog | str | Path, *, filter: str | None = None) -> CatalogStats:
    """Count the rows that the SQL `filter` lets in, without reading images. Raises CatalogError."""
    if not isinstance(catalog, Catalog):
        catalog = Catalog.open(catalog)
    counts: dict[str, Counter[Any]] = {
        name: Counter() for name in ("license", "source", "fetch_status", "creator")
    }
    sizes = ("width", "height", "original_width", "original_height")
    sums, sized = np.zeros(len(sizes)), 0
    rows = 0
    for batch in catalog.scan([*counts, *sizes], filter, batch_size=65536):
        rows += len(batch)
        for name, counter in counts.items():
            counted = pc.value_counts(batch[name])
            counter.update(dict(zip(*(counted.field(part).to_pylist() for part in (0, 1)), strict=True)))
        complete = batch.select(list(sizes)).filter(pc.is_valid(batch["width"]))
        sized += len(complete)
        sums += [pc.sum(complete[name]).as_py() or 0 for name in sizes]
    means = [float(total) / sized if sized else None for total in sums]
    by_creator = counts["creator"]
    by_creator.pop(None, None)
    on_disk = _bytes_on_disk(catalog)
    return CatalogStats(
        uri=catalog.uri,
        version=catalog.version,
        filter=filter,
        rows=rows,
        licenses=_sorted(counts["license"], NOT_STATED),
        sources=_sorted(counts["source"], NOT_STATED),
        fetch_statuses=_sorted(counts["fetch_status"], PENDING),
        creators=len(by_creator),
        top_creators=dict(by_creator.most_common(TOP_CREATORS)),
        commercial=_allowed(counts["license"], licenses.Policy.COMMERCIAL),
        noncommercial=_allowed(counts["license"], licenses.Policy.NONCOMMERCIAL),
        mean_width=means[0],
        mean_height=means[1],
        mean_original_width=means[2],
        mean_original_height=means[3],
        filled=_filled(catalog, filter),
        image_bytes=on_disk.get("image", 0),
        total_bytes=sum(on_disk.values()),
    )


def _allowed(counts: Mapping[str | None, int], policy: licenses.Policy) -> int:
    return sum(count for id, count in counts.items() if licenses.allows(licenses.parse(id), policy))


def _filled(catalog: Catalog, filter: str | None) -> dict[str, int]:
    columns = ["label", *(name for name in catalog.schema.names if name not in SCHEMA.names)]
    return {name: catalog.count(all_of(f"`{name}` IS NOT NULL", filter)) for name in columns}


def _bytes_on_disk(catalog: Catalog) -> dict[str, int]:
    """Column -> bytes of its data in the files of this version."""
    by_id = {entry.id: entry.bytes_on_disk for entry in catalog.dataset.stats.data_stats().fields}
    return {
        field.name(): by_id.get(field.id(), 0) + sum(by_id.get(child.id(), 0) for child in field.children())
        for field in catalog.dataset.lance_schema.fields()
    }


def _sorted(counts: Mapping[str | None, int], missing: str) -> dict[str, int]:
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0] or ""))
    return {missing if name is None else name: count for name, count in ordered}


def _table(title: str, counts: Mapping[str, int], rows: int) -> Any:
    from rich.markup import escape
    from rich.table import Table

    if not counts:
        return None
    table = Table(title, "images", "%", box=None, header_style="bold", padding=(0, 2, 0, 0))
    for column in table.columns[1:]:
        column.justify = "right"
    for name, count in counts.items():
        share = 100 * count / rows if rows else 0.0
        table.add_row(escape(clean(name) or ""), f"{count:,}", f"{share:.1f}")
    return table


def _bytes(count: float) -> str:
    for unit in ("B", "KB", "MB", "GB", "TB"):
        if count < 1000 or unit == "TB":
            break
        count /= 1000
    return f"{count:,.0f} {unit}" if count >= 100 or unit == "B" else f"{count:,.1f} {unit}"
