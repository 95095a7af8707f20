"""Prompts to try: texts that a model learned from."""

from __future__ import annotations

import random
from collections.abc import Collection

import pyarrow as pa
import pyarrow.compute as pc

from commoncanvas.core.errors import CommonCanvasError
from commoncanvas.core.text import clean
from commoncanvas.models.pretrained import model_folder
from commoncanvas.provenance.folder import read_rows, without_taken_down
from commoncanvas.table.table import Catalog

SHOWN = 8
LONGEST = 40
"""Characters: longer texts don't fit onto a button."""


def prompts_to_try(model: str, catalogs: dict[str, Catalog]) -> list[str]:
    """Some short texts of training images, in a random order that stays the same; none if the model has no rows.

    `catalogs`: those that the model learned from, by the model's names, as far as they are here. Texts of images that
    were taken down since are left out.
    """
    try:
        rows = without_taken_down(read_rows(model_folder(model)), catalogs)
    except CommonCanvasError:
        return []
    return chosen(_texts(rows))


def chosen(texts: Collection[str | None]) -> list[str]:
    """SHOWN different short texts."""
    short = {shown for text in texts if (shown := clean(text)) and len(shown) <= LONGEST}
    return random.Random(0).sample(sorted(short), min(SHOWN, len(short)))


def _texts(rows: pa.Table) -> list[str | None]:
    """One text for each group of training images: a drawing in five colours counts once."""
    own = pc.coalesce(rows["group"], rows["image_id"]) if "group" in rows.column_names else rows["image_id"]
    groups = zip(rows["split"].to_pylist(), own.to_pylist(), rows["text"].to_pylist(), strict=True)
    return list({group: text for split, group, text in reversed(list(groups)) if split == "train"}.values())
