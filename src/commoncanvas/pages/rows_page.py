"""The page about some rows of a catalog: their metadata and images, and duplicates next to their originals."""

from __future__ import annotations

from pathlib import Path

from commoncanvas.catalog import Catalog
from commoncanvas.catalog.credits import COLUMNS, Credit, credit
from commoncanvas.catalog.show.command import Row, ShownRows
from commoncanvas.core.text import clean
from commoncanvas.images.thumbnail import thumbnail
from commoncanvas.pages.report import bars, write_page
from commoncanvas.table.schema import DUPLICATE_OF
from commoncanvas.table.sql import listed

Side = tuple[str, Credit | None, bytes | None]
"""An id, the image's credit, and its thumbnail as a WebP file."""


def write_rows_page(found: ShownRows, out: str | Path) -> None:
    """Write the page about `found` to `out`: one file with thumbnails. All text is escaped, and only http(s) URLs
    become links. Raises CommonCanvasError if it can't be written.
    """
    catalog = Catalog.open(found.uri, version=found.version)
    ids = {row["image_id"] or "" for row in found.rows} | set(found.kept)
    columns = list(dict.fromkeys(["image_id", *COLUMNS, "image"]))
    rows = catalog.table(columns, f"image_id IN ({listed(sorted(ids))})").to_pylist() if ids else []
    sides: dict[str, Side] = {
        row["image_id"]: (row["image_id"], credit(row), thumbnail(row["image"]) if row["image"] else None)
        for row in rows
    }

    def side(name: str) -> Side:
        return sides.get(name, (name, None, None))

    def facts(row: Row) -> list[tuple[str, str | None]]:
        return [(name, row[name]) for name in found.columns]

    write_page(
        out,
        "rows.html.j2",
        f=found,
        name=clean(catalog.uri.rstrip("/").rpartition("/")[2]),
        statuses=bars(found.statuses),
        entries=[
            (
                side(row["image_id"] or ""),
                facts(row),
                side(copied) if (copied := row.get(DUPLICATE_OF)) else None,
            )
            for row in found.rows
        ],
    )
