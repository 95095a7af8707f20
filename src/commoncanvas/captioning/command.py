"""The command `caption`: write captions for the images of a catalog."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from commoncanvas.captioning.captioner import STATUSES
from commoncanvas.captioning.quality.rules import STATUSES as DROPPED
from commoncanvas.captioning.result import CaptionResult
from commoncanvas.captioning.stage import CaptionStage
from commoncanvas.catalog import Catalog
from commoncanvas.catalog.status_counts import status_counts
from commoncanvas.core.console import say
from commoncanvas.core.errors import CatalogError, MissingExtraError
from commoncanvas.engine import Engine, engine_of
from commoncanvas.models.sentences import embed
from commoncanvas.models.similarity import matched_and_shuffled
from commoncanvas.options.caption import CaptionerConfig, Precision
from commoncanvas.options.retry import statuses_to_retry
from commoncanvas.table.backfill import run_shown
from commoncanvas.table.columns import ColumnInfo
from commoncanvas.table.filters import FETCHED, expression, why_none
from commoncanvas.table.replace_column import drop_if_other
from commoncanvas.table.sql import all_of

COMPARED = 1000
"""Rows whose captions are compared with their titles after a run."""


def caption(
    catalog: Catalog | str | Path,
    captioner: CaptionerConfig | str | Path,
    *,
    column: str = "caption",
    where: str | None = "label IS NULL",
    retry: Sequence[str] = (),
    overwrite: bool = False,
    engine: Engine | str = "local",
    workers: int | None = None,
) -> CaptionResult:
    """Caption the fetched images of `catalog` that meet `where` (default: rows without human text).

    `captioner`: a model's folder or hub id, whose configuration says which kind it is; or a CaptionerConfig.

    `retry`: statuses to caption again, from STATUSES, or `failed` for all without a caption. `overwrite` first drops
    the column if another captioner or other settings made it; else that is an error. `engine` and `workers`: see
    `engine_of`; each worker loads the captioner. Raises CatalogError, EngineError, MissingExtraError, ModelError.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", column):
        raise CatalogError(f"column {column!r}: use lower-case letters, digits and _, as in caption_long")
    config = captioner if isinstance(captioner, CaptionerConfig) else CaptionerConfig(str(captioner))
    again = statuses_to_retry(retry, "caption", (*STATUSES, *DROPPED), ("ok", "cut", *DROPPED))
    engine = engine_of(engine, workers, device="cpu" if config.kind == "openai" else "auto")
    if config.kind == "openai":
        config = replace(config, concurrency=max(1, config.concurrency // getattr(engine, "workers", 1)))
    table = catalog if isinstance(catalog, Catalog) else Catalog.open(catalog)
    if config.precision == "auto":
        config = replace(config, precision=_precision(table, column, engine))
    stage = CaptionStage(config, column, again)
    _make_room(table, stage, overwrite)
    conditions = [FETCHED, *([expression(table, where) or where] if where else [])]
    condition = all_of(*conditions)
    done = run_shown(table, stage, condition, engine)
    if not done:
        labelled = "; every image has human text; use --where true to caption them anyway"
        none = where == "label IS NULL" and table.count(FETCHED) and not table.count(condition)
        say(f"{column}: {why_none(table, conditions)}{labelled if none else ''}")
    return CaptionResult(
        done,
        stage.info.model,
        column,
        status_counts(table, stage.done_column, condition),
        **_fit(table, column, condition),
    )


def _precision(table: Catalog, column: str, engine: Engine) -> Precision:
    """The precision of existing captions in `column`, if any; else bf16 for Ray's GPUs, or auto."""
    made = ColumnInfo.of(table.schema.field(column)) if column in table.schema.names else None
    existing: Precision | None = made.settings.get("precision") if made else None
    return existing or ("bf16" if getattr(engine, "gpus", 0) else "auto")


def _make_room(table: Catalog, stage: CaptionStage, overwrite: bool) -> None:
    column, status = stage.column, stage.done_column
    dropped = drop_if_other(
        table,
        column,
        stage.info,
        (f"{column}_model", status),
        overwrite=overwrite,
        remedy=f"use another --column, such as {another(column, stage.info.model)}, or --overwrite",
        needs=[status],
    )
    if dropped:
        say(f"dropped columns {', '.join(dropped)}; run encode to make columns that depend on them again")


def another(column: str, model: str) -> str:
    """A name for another column: `column` with the model's name added."""
    return f"{column}_{re.sub(r'[^a-z0-9]+', '_', Path(model).name.lower()).strip('_')}"


def _fit(catalog: Catalog, column: str, where: str) -> dict[str, Any]:
    """How well captions fit the titles of the same images, for up to COMPARED rows. Empty if fewer than two rows have
    both, or without the sentence model.
    """
    both = all_of(where, f"{column} IS NOT NULL", "title IS NOT NULL")
    rows = catalog.table([column, "title"], where=both, limit=COMPARED)
    if len(rows) < 2:
        return {}
    captions, titles = (rows[name].to_pylist() for name in (column, "title"))
    try:
        matched, shuffled = matched_and_shuffled(embed(captions), embed(titles))
    except MissingExtraError:
        return {}
    return {
        "compared": len(rows),
        "caption_cosine": round(matched, 4),
        "caption_cosine_shuffled": round(shuffled, 4),
        "distinct_captions": len(set(captions)),
    }
