"""The `encode` command: compute the frozen networks' outputs that training reads, and store them in columns."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from commoncanvas.catalog import Catalog
from commoncanvas.config import (
    AutoencoderRecipe,
    CaptionerRecipe,
    DiffusionRecipe,
    Recipe,
    as_recipe,
)
from commoncanvas.core.console import say
from commoncanvas.core.errors import CatalogError
from commoncanvas.core.text import counted
from commoncanvas.encoding.columns import (
    crop_column,
    feature_grid,
    fingerprint_column,
    pooled_column,
    text_column,
)
from commoncanvas.encoding.result import Encoded, EncodedColumn
from commoncanvas.encoding.stages import FeatureStage, FrozenStage, LatentStage, TextStage, decoded
from commoncanvas.encoding.states import states
from commoncanvas.engine import Engine, engine_of
from commoncanvas.models.vae_scaling import Scaling, scaling_of
from commoncanvas.selection.select import chosen_rows
from commoncanvas.table.backfill import run_shown
from commoncanvas.table.columns import ColumnInfo
from commoncanvas.table.filters import why_none
from commoncanvas.table.replace_column import drop_if_other
from commoncanvas.table.sql import all_of
from commoncanvas.table.taken_down_rows import rows_of, taken_down, without
from commoncanvas.table.texts import first_set_sql
from commoncanvas.table.tombstones import Keys

STATISTICS_ROWS = 4096
COUNTED = 100_000
"""About how many texts have their length checked."""
COUNTED_AT_ONCE = 4096
NAMED = 10


def column_info(catalog: Catalog, name: str) -> ColumnInfo:
    """How the column `name` was made. Raises CatalogError if it isn't a column of states."""
    info = ColumnInfo.of(catalog.schema.field(name))
    if info is None:
        raise CatalogError(
            f"column {name} of {catalog.uri} was not made by encode; encode --overwrite replaces it"
        )
    return info


def agreed(catalogs: Sequence[Catalog], name: str) -> ColumnInfo:
    """How the column `name` was made. Raises CatalogError if the catalogs differ in it."""
    info, *others = (column_info(catalog, name) for catalog in catalogs)
    for catalog, other in zip(catalogs[1:], others, strict=True):
        if other.identity != info.identity:
            raise CatalogError(
                f"column {name} of {catalog.uri} was made by {other.made_by}, but that of {catalogs[0].uri} by "
                f"{info.made_by}; encode --overwrite replaces it"
            )
    return info


def encode(
    recipe: Recipe | str | Path | Mapping[str, Any],
    *,
    overwrite: bool = False,
    engine: Engine | str = "local",
    workers: int | None = None,
) -> Encoded:
    """Write the columns that training `recipe` reads.

    Rows that were taken down are left out. A column that other weights made is an error; `overwrite` replaces it.
    `engine` and `workers`: see `engine_of`; each worker loads the networks. Raises CatalogError, EngineError,
    ModelError.
    """
    recipe = as_recipe(recipe)
    engine = engine_of(engine, workers, recipe.train.device)
    sources = recipe.data.catalogs
    opened = {uri: Catalog.open(uri) for uri in dict.fromkeys(each.catalog for each in sources.values())}
    keys = taken_down(opened.values())
    columns: list[EncodedColumn] = []
    for name, source in sources.items():
        if len(sources) > 1:
            say(f"{recipe.name}: {name}, {source.catalog}")
        columns += _encode(recipe, name, opened[source.catalog], keys, overwrite, engine)
    if not columns:
        say(
            f"{recipe.name}: a recipe of task {recipe.task} reads the stored images; there is nothing to encode"
        )
    return Encoded(tuple(columns))


def _encode(
    recipe: Recipe, name: str, catalog: Catalog, keys: Keys, overwrite: bool, engine: Engine
) -> Iterator[EncodedColumn]:
    chosen = chosen_rows(recipe.data, name, catalog)
    removed = rows_of(catalog, keys, all_of(*chosen))
    if len(removed):
        say(
            f"{recipe.name}: left out {counted(len(removed), 'images')} of {catalog.uri} that were taken down"
        )
    chosen += without(removed["_rowid"].to_pylist())
    for stage, condition in _stages(recipe, catalog):
        scaling = None
        if isinstance(stage, LatentStage) and isinstance(recipe, DiffusionRecipe):
            # Find a VAE that can't be trained on before it runs.
            scaling = scaling_of(stage.network, recipe.vae, recipe.pipeline)
        _make_room(catalog, stage, overwrite, recipe.command("encode", "--overwrite"))
        conditions = [*chosen, *([condition] if condition else [])]
        rows = run_shown(catalog, stage, all_of(*conditions), engine)
        if rows and "image" in stage.reads:
            rows -= say_undecodable(catalog, stage.done_column, conditions)
        column = EncodedColumn(name, stage.done_column, rows)
        if not rows:
            say(f"{stage.done_column}: {why_none(catalog, conditions)}")
        elif isinstance(stage, TextStage):
            counted_texts, cut = count_cut(catalog, stage, all_of(*conditions))
            column = replace(column, texts_counted=counted_texts, texts_cut=cut)
        if scaling and isinstance(stage, LatentStage):
            mean, std = latent_statistics(catalog, stage, scaling)
            column = replace(column, mean=mean, std=std)
        yield column


def say_undecodable(catalog: Catalog, column: str, conditions: Sequence[str]) -> int:
    """Print which images `column`'s stage could not decode; returns their number.

    Rows that another process has added meanwhile lack the value too, but can be decoded.
    """
    missing = catalog.scan(["image_id", "image"], all_of(f"{column} IS NULL", *conditions), batch_size=64)
    rows = (row for batch in missing for row in batch.to_pylist())
    left = [row["image_id"] for row in rows if decoded(row["image"]) is None]
    if left:
        shown = ", ".join(left[:NAMED]) + (", ..." if len(left) > NAMED else "")
        say(
            f"{column}: {counted(len(left), 'stored images')} can't be decoded and won't be trained on: {shown}; "
            "import and fetch them again, or remove them with commoncanvas catalog takedown --id"
        )
    return len(left)


def count_cut(catalog: Catalog, stage: TextStage, where: str | None) -> tuple[int, int]:
    """The number of texts that were checked, about COUNTED at most; and how many are longer than the encoder reads."""
    checked = cut = 0
    for batch in catalog.scan(stage.reads, where, batch_size=COUNTED_AT_ONCE):
        texts = stage.inputs(batch)
        checked += len(texts)
        cut += sum(stage.network.are_cut(texts))
        if checked >= COUNTED:
            break
    if cut:
        first = "the first " if checked >= COUNTED else ""
        say(
            f"{stage.done_column}: {cut:,} of {first}{checked:,} texts are longer than {stage.length} tokens; the "
            "rest of each text is not read (text_length in the recipe)"
        )
    return checked, cut


def _stages(recipe: Recipe, catalog: Catalog) -> list[tuple[FrozenStage, str | None]]:
    """The stages of a recipe, each with the SQL condition of the rows that it can process."""
    device = recipe.train.device
    match recipe:
        case CaptionerRecipe():
            return [(FeatureStage(recipe.feature_grid, device), f"{recipe.data.text_columns[0]} IS NOT NULL")]
        case DiffusionRecipe():
            grid = feature_grid(recipe.alignment.column) if recipe.alignment else None
            return [
                (LatentStage(recipe.vae, recipe.size, recipe.encode, device), None),
                *_texts(recipe, catalog),
                *([(FeatureStage(grid, device, recipe.encode.batch_size), None)] if grid else []),
            ]
        case AutoencoderRecipe():
            return []


def _texts(recipe: DiffusionRecipe, catalog: Catalog) -> list[tuple[FrozenStage, str | None]]:
    """One stage for each row's first text, or one for each column that training draws texts from."""
    stages: list[tuple[FrozenStage, str | None]] = []
    network = None
    for column, sources in text_sources(recipe).items():
        texts = present(sources, catalog)
        if not texts:
            continue
        stage = TextStage(
            recipe.text_encoder,
            recipe.text_length,
            sources,
            recipe.encode,
            recipe.train.device,
            column=column,
            present=texts,
            skip=recipe.text_skip,
            prompts=recipe.prompts,
            network=network,
        )
        network = stage.network
        stages.append((stage, f"{first_set_sql(texts)} IS NOT NULL"))
    if not stages:
        raise CatalogError(
            f"catalog {catalog.uri} has no text column ({', '.join(recipe.data.text_columns)}); to write captions: "
            f"commoncanvas caption --catalog {shlex.quote(catalog.uri)} --captioner blip2 "
            "--model Salesforce/blip2-opt-2.7b"
        )
    return stages


def present(sources: Sequence[str], catalog: Catalog) -> list[str]:
    """The columns that the catalog has."""
    return [name for name in sources if name in catalog.schema.names]


def text_sources(recipe: DiffusionRecipe) -> dict[str, list[str]]:
    """The columns of text states that a recipe reads, each with the text columns that it is made from."""
    names = recipe.data.text_columns
    if recipe.data.text_mix is None:
        return {text_column(recipe.text_encoder, recipe.text_length): names}
    return {text_column(recipe.text_encoder, recipe.text_length, name): [name] for name in names}


def _make_room(catalog: Catalog, stage: FrozenStage, overwrite: bool, remake: str) -> None:
    name = stage.done_column
    related = (crop_column(name), fingerprint_column(name), pooled_column(name))
    drop_if_other(catalog, name, stage.info, related, overwrite=overwrite, remedy=f"to replace it: {remake}")


def latent_statistics(
    catalog: Catalog, stage: LatentStage, scaling: Scaling
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel [C] of the scaled latents, over the first rows of the column. Empty
    without rows, or if the latents have several sizes.
    """
    table = catalog.table(
        [stage.done_column], where=f"{stage.done_column} IS NOT NULL", limit=STATISTICS_ROWS
    )
    if not len(table) or len(stage.sizes) > 1:
        return (), ()
    latents = states(table[stage.done_column], stage.info.shape).float()
    while latents.ndim > 4:  # no mirror images, no standard deviations
        latents = latents[:, 0]
    latents = scaling(latents)
    mean, std = (
        tuple(round(float(value), 4) for value in values)
        for values in (latents.mean((0, 2, 3)), latents.std((0, 2, 3)))
    )
    return mean, std
