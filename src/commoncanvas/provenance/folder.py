"""A model folder, read again: its rows, and the catalogs that they are from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from commoncanvas.catalog import Catalog
from commoncanvas.core.errors import ModelError, NoCatalogError
from commoncanvas.core.text import one_line
from commoncanvas.table.taken_down_rows import rows_of, taken_down

ROWS = "rows.parquet"
ROW_COLUMNS = ("image_id", "row_id", "split", "text", "text_column", "license", "catalog")


def read_rows(model: str) -> pa.Table:
    """rows.parquet: the rows that the model was trained on, and the held-out rows. Raises ModelError."""
    path = Path(model) / ROWS
    if not path.is_file():
        raise ModelError(
            f"{model} has no rows.parquet, so the images that it learned from are unknown; train the model again"
        )
    try:
        rows = pq.read_table(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise ModelError(f"{path} can't be read: {one_line(error)}") from error
    missing = [name for name in ROW_COLUMNS if name not in rows.column_names]
    if missing:
        raise ModelError(f"{path} lacks {', '.join(missing)}; train the model again with this version")
    return rows


def trained_catalogs(model: str, provenance: dict[str, Any], moved: Sequence[str]) -> dict[str, Catalog]:
    """The catalogs that a model learned from, by name, at their versions. `moved`: as for `catalog_places`.

    Raises CatalogError, and ModelError for an unknown name.
    """
    places = catalog_places(model, provenance, moved)
    return {
        name: open_trained(model, provenance, name, places[name], source.get("tag") or source["version"])
        for name, source in provenance["catalogs"].items()
    }


def open_trained(
    model: str, provenance: dict[str, Any], name: str, place: str, version: str | int | None = None
) -> Catalog:
    """A catalog that a model learned from, at `place`. Raises CatalogError; if it isn't there, with what to do."""
    try:
        return Catalog.open(place, version=version)
    except NoCatalogError as error:
        places = {str(source["uri"]) for source in provenance["catalogs"].values()}
        new = "URI" if len(places) == 1 else f"{name}=URI"
        raise NoCatalogError(
            f"{model} learned from the catalog {place}, which isn't there; if it has moved, give its new place: "
            f"--catalog {new}"
        ) from error


def catalog_places(model: str, provenance: dict[str, Any], moved: Sequence[str]) -> dict[str, str]:
    """Where the catalogs are that a model learned from, by name. `moved`: their new places as `NAME=URI`; the URI alone
    is enough if all were in one place. Raises ModelError for an unknown name.
    """
    sources = provenance["catalogs"]
    places = {name: str(source["uri"]) for name, source in sources.items()}
    together = len(set(places.values())) == 1
    for word in moved:
        name, _, uri = word.partition("=")
        if together and name not in sources:
            places = dict.fromkeys(places, word)
            continue
        if name not in sources or not uri:
            raise ModelError(
                f"{model} learned from several catalogs, and {word} doesn't name one of them; "
                f"write NAME=URI, where NAME is one of {', '.join(sources)}"
            )
        places[name] = uri
    return places


def removed_since(catalogs: Mapping[str, Catalog]) -> set[tuple[str, int]]:
    """Catalog and row id of the rows that were taken down since."""
    keys = taken_down(catalogs.values())
    return {
        (name, row_id)
        for name, catalog in catalogs.items()
        for row_id in rows_of(catalog, keys)["_rowid"].to_pylist()
    }


def without_taken_down(rows: pa.Table, catalogs: Mapping[str, Catalog]) -> pa.Table:
    """Put rows that were taken down since into the split `taken down`, so that they are not used as prompts.

    Their texts stay, because the model has seen these words.
    """
    removed = removed_since(catalogs)
    if not removed:
        return rows
    places = zip(rows["catalog"].to_pylist(), rows["row_id"].to_pylist(), strict=True)
    splits = [
        "taken down" if place in removed else split
        for place, split in zip(places, rows["split"].to_pylist(), strict=True)
    ]
    return rows.set_column(rows.schema.get_field_index("split"), "split", pa.array(splits))
