"""Bytes on disk of the columns that training reads: calculated from their types, or measured in a catalog."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from commoncanvas.catalog.stats.command import bytes_on_disk
from commoncanvas.config import DiffusionRecipe
from commoncanvas.core.errors import RecipeError
from commoncanvas.encoding.columns import (
    crop_column,
    feature_grid,
    fingerprint,
    fingerprint_column,
    latent_column,
    pooled_column,
    stored_shape,
)
from commoncanvas.encoding.command import present, text_sources
from commoncanvas.encoding.crops import Crop, buckets
from commoncanvas.encoding.states import state_type
from commoncanvas.models.efficientnet import FEATURES
from commoncanvas.planning.parts import Latents, TextStates
from commoncanvas.selection.select import chosen_rows
from commoncanvas.table.sql import all_of

if TYPE_CHECKING:
    from commoncanvas.catalog import Catalog


@dataclass(frozen=True)
class Column:
    """`bytes_per_row`: calculated from the type, or measured on disk over `measured_rows` rows if that isn't 0."""

    name: str
    bytes_per_row: float
    measured_rows: int = 0


@dataclass(frozen=True)
class Stored:
    """The columns that one catalog stores for a recipe. `rows`: how many rows; None if unknown."""

    catalog: str
    rows: float | None
    columns: tuple[Column, ...]


def columns_of(
    recipe: DiffusionRecipe, latents: Latents, text: TextStates, catalog: Catalog | None = None
) -> tuple[Column, ...]:
    """The columns that `encode` writes for the recipe. Columns that `catalog` has are measured there."""
    calculated = [
        Column(name, float(_bytes(kind))) for name, kind in _kinds(recipe, latents, text, catalog).items()
    ]
    if catalog is None:
        return tuple(calculated)
    on_disk = bytes_on_disk(catalog)
    return tuple(_measured(column, catalog, on_disk) for column in calculated)


def together(stored: Sequence[Stored]) -> tuple[Column, ...]:
    """Merge the columns of several catalogs. Bytes are a mean over rows; unknown row counts count as equal."""
    counts = [1.0 if each.rows is None else each.rows for each in stored]
    sizes: dict[str, float] = {}
    measured: Counter[str] = Counter()
    for count, each in zip(counts, stored, strict=True):
        for column in each.columns:
            sizes[column.name] = sizes.get(column.name, 0.0) + column.bytes_per_row * count / sum(counts)
            measured[column.name] += column.measured_rows
    return tuple(Column(name, size, measured[name]) for name, size in sizes.items())


def count_rows(recipe: DiffusionRecipe, catalog: Catalog, name: str) -> int:
    """Count the rows of one of the recipe's catalogs that `encode` would process: fetched, allowed, selected by the
    filter, and with a text if the catalog has text columns. Training sees fewer: some are held out or unused.
    """
    texts = present(recipe.data.text_columns, catalog)
    some = " OR ".join(f"{name} IS NOT NULL" for name in texts) or None
    return catalog.count(all_of(*chosen_rows(recipe.data, name, catalog), some))


def _kinds(
    recipe: DiffusionRecipe, latents: Latents, text: TextStates, catalog: Catalog | None
) -> dict[str, pa.DataType]:
    storage = recipe.encode.storage
    name = latent_column(recipe.vae, recipe.size)
    _check_buckets(recipe, latents.downsampling)
    shape = stored_shape(latents.channels, latents.downsampling, recipe.size, recipe.encode)
    kinds = {
        name: state_type(shape, storage),
        crop_column(name): pa.list_(pa.int32(), len(Crop._fields)),
    }
    for column, sources in text_sources(recipe).items():
        if catalog and recipe.data.text_mix and not present(sources, catalog):
            continue  # encode skips it
        kinds[column] = state_type((recipe.text_length, text.width), storage)
        kinds[fingerprint_column(column)] = pa.string()
        if text.pooled:
            kinds[pooled_column(column)] = state_type((text.pooled,), storage)
    if recipe.alignment and (grid := feature_grid(recipe.alignment.column)):
        kinds[recipe.alignment.column] = state_type((FEATURES, grid, grid), "fp16")
    return kinds


def _check_buckets(recipe: DiffusionRecipe, factor: int) -> None:
    step = recipe.encode.buckets
    if step and (step % factor or not buckets(recipe.size, step)):
        raise RecipeError(
            f"{recipe.name}: encode.buckets {step} gives no buckets for size {recipe.size}; use a multiple of {factor}"
        )


def _bytes(kind: pa.DataType) -> int:
    if pa.types.is_fixed_size_list(kind):
        return int(kind.list_size * kind.value_type.bit_width // 8)
    return len(fingerprint(""))


def _measured(column: Column, catalog: Catalog, on_disk: dict[str, int]) -> Column:
    rows = _written_rows(catalog, column.name)
    return Column(column.name, on_disk[column.name] / rows, rows) if rows else column


def _written_rows(catalog: Catalog, column: str) -> int:
    """Rows of the fragments that have a file of the column. In these, a null takes as many bytes as a value."""
    if column not in catalog.schema.names:
        return 0
    (field,) = (each for each in catalog.dataset.lance_schema.fields() if each.name() == column)
    ids = {field.id(), *(child.id() for child in field.children())}
    fragments: list[Any] = catalog.dataset.get_fragments()
    return sum(
        fragment.physical_rows
        for fragment in fragments
        if any(ids & set(file.fields) for file in fragment.metadata.files)
    )
