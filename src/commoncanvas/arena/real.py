"""Real images for checks against noise: those of a folder or a catalog, each with its own text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from commoncanvas.arena.blind import read_image
from commoncanvas.arena.chooser import seeded
from commoncanvas.core.errors import ArenaError
from commoncanvas.core.text import one_line

TEXTS = ("label", "caption", "title")
"""Columns of a catalog whose first text is an image's."""
TEXT = ".txt"
"""Beside an image of a folder."""


@dataclass(frozen=True)
class RealImage:
    """An image that no model drew. `credit`: whose it is and under which licence; "" if the source doesn't say."""

    image: Image.Image
    text: str
    credit: str


def real_images(source: str, count: int, seed: object) -> list[RealImage]:
    """Up to `count` images of a catalog, or of a folder with a text file beside each image, drawn by seed.

    Raises ArenaError if there are none or a text is missing; CatalogError.
    """
    folder = Path(source)
    local = folder.is_dir() and not (folder / "_versions").is_dir()
    found = list(_of_folder(folder, count, seed) if local else _of_catalog(source, count, seed))
    if not found:
        raise ArenaError(f"real images {source}: no image has a text; a check shows both")
    return found


def _of_folder(folder: Path, count: int, seed: object) -> Iterator[RealImage]:
    from commoncanvas.evaluation.image_files import images_in

    files = images_in(folder)
    for place in seeded("real images", seed).permutation(len(files))[:count].tolist():
        beside = files[place].with_suffix(TEXT)
        text = one_line(beside.read_text(encoding="utf-8", errors="replace")) if beside.is_file() else ""
        if not text:
            raise ArenaError(f"{beside} is missing or empty; write the text of {files[place].name} into it")
        yield RealImage(read_image(files[place]), text, "")


def _of_catalog(uri: str, count: int, seed: object) -> Iterator[RealImage]:
    from commoncanvas.catalog import Catalog
    from commoncanvas.catalog.credits import COLUMNS, credit
    from commoncanvas.images.image import readable

    catalog = Catalog.open(uri)
    texts = [name for name in TEXTS if name in catalog.schema.names]
    there = " OR ".join(f"{name} IS NOT NULL" for name in texts)
    ids = catalog.table([], f"fetch_status = 'ok' AND ({there})", with_row_id=True)["_rowid"].to_numpy()
    chosen = ids[seeded("real images", seed).permutation(len(ids))[:count]]
    rows = catalog.take(np.sort(chosen), list(dict.fromkeys([*texts, *COLUMNS, "image"])))
    for row in rows.to_pylist():
        pixels = readable(row["image"])
        text = one_line(next(row[name] for name in texts if row[name] is not None))
        if pixels is not None and text:
            yield RealImage(Image.fromarray(pixels), text, credit(row).text())
