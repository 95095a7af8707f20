"""Choose the prompts that a model is evaluated on, and read their real images."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from commoncanvas.catalog import Catalog
from commoncanvas.core.errors import CatalogError
from commoncanvas.images.image import decode, square


@dataclass(frozen=True)
class Prompt:
    """One row that the model saw ('train') or didn't ('heldout'), and the seed for its image."""

    image_id: str
    row_id: int
    split: str
    text: str
    text_column: str
    seed: int
    catalog: str
    """The name of its row's catalog."""


def choose_prompts(rows: pa.Table, split: str, count: int, seed: int) -> list[Prompt]:
    """Draw up to `count` rows of `split` with different texts, by a hash of (seed, image_id).

    `rows` is a model folder's rows.parquet. The draw doesn't depend on the order of the rows, and a larger
    `count` keeps the prompts of a smaller one. A held-out prompt is left out if a row that is not held out has
    the same words, even an unused row: so `data.fraction` doesn't change the prompts. Of rows that are held out
    together (`data.heldout_by`), one is drawn.
    """
    records = [row for row in rows.to_pylist() if row["text"] and row["text"].strip()]
    taken: set[str] = set()
    if split == "heldout":
        # If training draws texts, `texts` has all texts of a row.
        others = (row.get("texts") or row["text"] for row in records if row["split"] != "heldout")
        taken = {fold(text) for texts in others for text in texts.split("\x1f")}
    drawn = sorted(
        (row for row in records if row["split"] == split), key=lambda row: _draw(seed, row["image_id"])
    )
    chosen: list[Prompt] = []
    groups: set[str] = set()
    for row in drawn:
        if len(chosen) == count:
            break
        group = row.get("group", row["image_id"])
        if fold(row["text"]) not in taken and group not in groups:
            taken.add(fold(row["text"]))
            groups.add(group)
            image_seed = int.from_bytes(_draw(seed, row["image_id"])[:4], "big")
            where = row["row_id"], split, row["text"], row["text_column"], image_seed
            chosen.append(Prompt(row["image_id"], *where, row["catalog"]))
    return chosen


def fold(text: str) -> str:
    """The words of a text without case and spacing. Two texts with the same words count as the same."""
    return " ".join(text.casefold().split())


def _draw(seed: int, image_id: str) -> bytes:
    return hashlib.sha256(f"prompt:{seed}:{image_id}".encode()).digest()


def read_images(catalogs: Mapping[str, Catalog], prompts: Sequence[Prompt], size: int) -> NDArray[np.uint8]:
    """The real images [N, size, size, 3] of the prompts' rows, square as in training. Raises CatalogError."""
    images: list[NDArray[np.uint8]] = [np.empty(0, np.uint8)] * len(prompts)
    for name, catalog in catalogs.items():
        places = [place for place, prompt in enumerate(prompts) if prompt.catalog == name]
        table = take_rows(catalog, [prompts[place] for place in places], ["image_id", "image"])
        for place, data in zip(places, table["image"].to_pylist(), strict=True):
            if data is None:
                raise CatalogError(
                    f"{prompts[place].image_id} in {catalog.uri} (version {catalog.version}) has no image; "
                    "name the catalog that the model was trained on with --catalog, or fetch it: "
                    f"commoncanvas catalog fetch --catalog {shlex.quote(catalog.uri)}"
                )
            images[place] = square(decode(data), size)
    return np.stack(images)


def take_rows(catalog: Catalog, prompts: Sequence[Prompt], columns: list[str]) -> pa.Table:
    """Read `columns` (with image_id) of the prompts' rows, in order. Raises CatalogError if rows are missing."""
    row_ids = np.array([prompt.row_id for prompt in prompts], dtype=np.uint64)
    table = catalog.take(row_ids, columns)
    if table["image_id"].to_pylist() != [prompt.image_id for prompt in prompts]:
        raise CatalogError(
            f"{catalog.uri} (version {catalog.version}) lacks rows that the model was trained on; "
            "name the catalog it was trained on with --catalog"
        )
    return table
