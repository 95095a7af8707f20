"""The page about what a model gives back: the closest pairs side by side, with credits and takedown commands."""

from __future__ import annotations

from pathlib import Path

from commoncanvas.catalog import Catalog
from commoncanvas.catalog.credits import COLUMNS, Credit, credit
from commoncanvas.core.text import clean
from commoncanvas.images.thumbnail import thumbnail
from commoncanvas.memorisation.result import MEANING, Memorisation, Pair, takedown_command
from commoncanvas.pages.report import write_page
from commoncanvas.table.sql import listed

SHOWN = 48
"""Pairs on the page. memorisation.json has all."""

Original = tuple[Credit, bytes | None]
"""The credit of a training image, and its thumbnail."""


def write_memorisation_page(found: Memorisation, out: str | Path) -> None:
    """Write the page about `found`, one file, to `out`. All text is escaped, and only http(s) URLs become links.

    Raises CatalogError, and CommonCanvasError if the page can't be written.
    """
    pairs = found.pairs[:SHOWN]
    originals = _originals(found, pairs)
    write_page(
        out,
        "memorisation.html.j2",
        m=found,
        name=clean(found.model.rstrip("/").rpartition("/")[2]),
        sentences=list(found.sentences()),
        meaning=MEANING,
        copies=found.calibration.copies,
        entries=[
            (
                pair,
                (Path(found.out) / pair.file).read_bytes(),
                originals.get((pair.catalog, pair.image_id)),
                takedown_command(str(found.catalogs[pair.catalog]["uri"]), pair.image_id),
            )
            for pair in pairs
        ],
    )


def _originals(found: Memorisation, pairs: tuple[Pair, ...]) -> dict[tuple[str, str], Original]:
    """By catalog and image id."""
    originals: dict[tuple[str, str], Original] = {}
    for name, about in found.catalogs.items():
        ids = sorted({pair.image_id for pair in pairs if pair.catalog == name})
        if not ids:
            continue
        columns = list(dict.fromkeys([*COLUMNS, "image"]))
        for row in Catalog.open(str(about["uri"])).table(columns, f"image_id IN ({listed(ids)})").to_pylist():
            originals[name, row["image_id"]] = credit(row), thumbnail(row["image"])
    return originals
