"""The facts of a data set that its documents state, from the table and from what was exported."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from commoncanvas.catalog import CatalogStats
from commoncanvas.catalog.export.data_card import Card
from commoncanvas.catalog.export.papers import Exported
from commoncanvas.catalog.export.shards import WRITERS, columns
from commoncanvas.core.numbers import percent, ratio
from commoncanvas.core.text import counted, markdown_cell, markdown_code, one_line
from commoncanvas.core.version import __version__
from commoncanvas.licenses import combine
from commoncanvas.release.data_words import count_words
from commoncanvas.release.datasheet import Answers
from commoncanvas.release.removed import Removed
from commoncanvas.table.columns import ColumnInfo
from commoncanvas.table.filters import saved_conditions

TOP = 10
"""Creators whose share is stated."""
LAYOUTS = {
    "webdataset": "WebDataset archives",
    "links": "Parquet files without images",
    "parquet": "Parquet files with the images",
    "huggingface": "Parquet files with the images",
}


@dataclass(frozen=True)
class Former:
    """The former release: its rows, and those of them that this release has too."""

    rows: int
    kept: int


def facts_of(
    exported: Exported,
    card: Card,
    stats: CatalogStats,
    tag: str,
    removed: Removed,
    former: Former | None,
) -> dict[str, Any]:
    """The facts by the names that the templates of datasheet.yaml use."""
    imports = stats.dropped.imports
    dates = sorted(each.date[:10] for each in imports)
    named = sum(count for name, count in card.creators.items() if name)
    writer = WRITERS[exported.format]
    shown = [name for name in columns(exported.catalog.schema, writer.images) if name != "image"]
    return {
        "name": card.name,
        "program": f"CommonCanvas {__version__}",
        "date": datetime.now(UTC).date().isoformat(),
        "rows": card.rows,
        "images": writer.images,
        "layout": LAYOUTS[exported.format],
        "people": card.people,
        "unnamed": card.rows - named,
        "stats": stats,
        "dated": sum(stats.years.values()),
        "sizes": _sizes(stats),
        "filled": stats.filled,
        "words": count_words(exported),
        "columns": [*shown, "text", "credit"],
        "imports": imports,
        "imported": sum(each.rows for each in imports),
        "timeframe": (dates[0], dates[-1]) if dates else None,
        "filter_words": _filter_words(exported, tag),
        "models": _models(exported, shown),
        "licence_words": _licence_words(card),
        "top_share": _top_share(card),
        "nc": sum(card.licenses[each.id] for each in card.values if not each.commercial),
        "since": former is not None,
        "removed_since": removed.since,
        "other_since": former.rows - former.kept - removed.since if former else 0,
    }


def _sizes(stats: CatalogStats) -> str | None:
    if stats.mean_width is None or stats.mean_height is None:
        return None
    return f"{stats.mean_width:,.0f} × {stats.mean_height:,.0f}"


def _filter_words(exported: Exported, tag: str) -> str:
    """The saved filter's conditions in a sentence."""
    conditions = saved_conditions(exported.catalog).get(tag, ())
    # Free SQL may name a person.
    reasons = "; ".join(
        "a further condition"
        if each.name == "where"
        else f"{markdown_cell(each.name)} ({markdown_cell(each.why)})"
        for each in conditions
    )
    left = ", ".join(f"{count:,} {markdown_cell(why)}" for why, count in exported.left_out.items())
    words = f"The rows are those of {markdown_code(tag)}."
    if reasons:
        words += f" Its filter leaves out, by condition: {reasons}."
    return words + (f" Of the rows that it selects, these were left out too: {left}." if left else "")


def _models(exported: Exported, names: list[str]) -> list[dict[str, Any]]:
    """The models that made exported columns, with these columns. Paths become names."""
    found: dict[tuple[str, str | None], list[str]] = {}
    for name in names:
        if info := ColumnInfo.of(exported.catalog.schema.field(name)):
            found.setdefault((_model_name(info.model), info.license), []).append(name)
    return [
        {"model": model, "license": license, "columns": columns}
        for (model, license), columns in found.items()
    ]


def _model_name(model: str) -> str:
    """A hub id as it is; the last part of a path."""
    return one_line(model.rstrip("/").rpartition("/")[2] if model.startswith((".", "/", "~")) else model)


def _licence_words(card: Card) -> str:
    listed = ", ".join(f"{each.id} ({counted(card.licenses[each.id], 'images')})" for each in card.values)
    together = combine(card.values, allow_no_derivatives=True).message
    return f"The images are under {listed}. Taken together: {markdown_cell(together)}."


def _top_share(card: Card) -> str:
    """How much of the data set the creators with the most images made."""
    top = [count for name, count in card.creators.items() if name][:TOP]
    if card.people <= TOP:
        return ""
    return f"{counted(TOP, 'creators')} made {percent(ratio(sum(top), card.rows))} of the images."


def rai(answers: Answers, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Croissant's responsible-AI properties (http://mlcommons.org/croissant/RAI/1.0), from the datasheet's answers. The
    names are those of `mlcroissant.Metadata`.
    """
    one = {
        "data_collection": answers.stated("acquired", "mechanisms"),
        "data_collection_missing_data": answers.stated("missing"),
        "data_collection_raw_data": answers.stated("instances", "raw"),
        "data_release_maintenance_plan": answers.stated("updates", "older", "revoke"),
        "data_social_impact": answers.stated("impact_analysis"),
    }
    many = {
        "data_collection_type": ["Secondary Data analysis", "User-generated content data"],
        "data_preprocessing_protocol": answers.stated("preprocessing", "sampling"),
        "data_annotation_protocol": answers.stated("labels"),
        "machine_annotation_tools": [str(each["model"]) for each in facts["models"]],
        "data_biases": answers.stated("impact", "sample"),
        "data_use_cases": answers.stated("purpose", "other_tasks"),
        "data_limitations": answers.stated("errors", "self_contained", "not_for", "offensive"),
        "personal_sensitive_information": answers.stated("identifiable", "sensitive", "consent"),
    }
    joined = {name: " ".join(parts) for name, parts in one.items() if parts}
    return joined | {name: parts for name, parts in many.items() if parts}
