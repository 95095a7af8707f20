"""The demo's results: summary.json, credits.csv and report.html, made from the stages' files."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from commoncanvas import licenses
from commoncanvas.catalog import Catalog, credits
from commoncanvas.config import MAIN
from commoncanvas.core.files import replace_text
from commoncanvas.core.memory import peak_bytes
from commoncanvas.creators.names import count_names
from commoncanvas.demonstration.folders import HUMAN_TEXT, MODELS
from commoncanvas.evaluation.fingerprint import note, of_set
from commoncanvas.images.thumbnail import thumbnail
from commoncanvas.memorisation.result import MEANING
from commoncanvas.memorisation.sources import sources
from commoncanvas.pages.evaluation_page import grid_of, losses_of, training_facts
from commoncanvas.pages.report import Caption, Nearest, write_report
from commoncanvas.provenance.model_card import EVALUATION
from commoncanvas.provenance.record import filter_of
from commoncanvas.provenance.record_file import read_provenance
from commoncanvas.table.sql import listed

CAPTIONS_SHOWN = 24
NEAREST_OF, NEAREST = 3, 3
"""Drawn images whose nearest training images are shown, and how many of each."""
STRANGERS = 300
"""Fewer than `commoncanvas sources` asks, so that it takes seconds."""
COMPARED = (
    "prompts",
    "retrieval_seen",
    "fd",
    "kd",
    "prompts_heldout",
    "retrieval_heldout",
    "fd_heldout",
    "kd_heldout",
)
CREDIT_COLUMNS = ("image_id", "title", "creator", "creator_url", "page_url", "license", "license_url")


def write_demo_report(folder: Path, stages: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Write the demo's summary, credits and page into `folder`; returns the summary.

    The report is a stage too. Its time ends before the page is made, because the page shows it.
    """
    began = time.monotonic()
    records = {task: read_provenance(folder / name) for task, name in MODELS.items()}
    catalog = Catalog.open(folder / "catalog.lance")
    learned, held_out = _images(folder)
    used = learned | held_out
    rows = catalog.table(CREDIT_COLUMNS, where="fetch_status = 'ok'").to_pylist()
    rows = sorted((row for row in rows if row["image_id"] in used), key=lambda row: str(row["image_id"]))
    evaluated = folder / MODELS["diffusion"] / EVALUATION
    evaluation = json.loads(evaluated.read_text(encoding="utf-8"))
    model = records["diffusion"]
    results = {stage["name"]: stage["result"] for stage in stages}
    human = _human_text(folder, evaluation)
    grid, captions = grid_of(evaluated.parent, evaluation), _captions(catalog)
    facts = _catalog_facts(catalog)
    nearest = _nearest(folder, evaluated.parent, evaluation)
    credits(catalog.uri, where=_filter(folder), format="csv", out=str(folder / "credits.csv"))
    report = {
        "name": "report",
        "seconds": round(time.monotonic() - began, 2),
        "peak_mb": round(own_peak_mb(), 1),
    }
    stages = [{key: stage[key] for key in report} for stage in stages] + [report]

    summary: dict[str, Any] = {
        "recipe": model["name"],
        **evaluation["figures"],
        "feature_extractor": evaluation["feature_extractor"],
        **{name: results["caption"].get(name) for name in ("caption_cosine", "caption_cosine_shuffled")},
        "human_text": human,
        "images": len(learned),
        "images_held_out": len(held_out),
        "licenses": dict(Counter(row["license"] for row in rows).most_common()),
        "creators": count_names(row["creator"] for row in rows),
        "result_license": model["result_license"],
        "filter": model["recipe"]["data"]["catalogs"][MAIN]["filter"],
        "training": {
            **training_facts(model, evaluation),
            "autoencoder_psnr_db": records["autoencoder"]["figures"]["psnr_db"],
            "captioner_images": records["captioner"]["rows"]["train"],
            "autoencoder_images": records["autoencoder"]["rows"]["train"],
        },
        "stages": stages,
        "seconds": round(sum(stage["seconds"] for stage in stages), 1),
        "peak_mb": max(stage["peak_mb"] for stage in stages),
    }
    write_report(
        summary,
        out=folder / "report.html",
        grid=grid,
        losses={task: losses_of(folder / name) for task, name in MODELS.items()},
        catalog_stats=facts,
        captions=captions,
        credits=rows,
        nearest=nearest,
        meaning=MEANING,
    )
    replace_text(folder / "summary.json", json.dumps(summary, indent=2, ensure_ascii=False) + "\n")
    return summary


def _human_text(folder: Path, other: Mapping[str, Any]) -> dict[str, Any]:
    """The figures of the model that was trained on people's text for the same images, and the number of these; `note`
    says what differs in how they and `other`, the main model's evaluation, were measured.
    """
    evaluation = json.loads((folder / HUMAN_TEXT / EVALUATION).read_text(encoding="utf-8"))
    marks = [mark for each in (evaluation, other) if (mark := of_set(each, "heldout"))]
    return {
        "images": read_provenance(folder / HUMAN_TEXT)["rows"]["train"],
        **{name: evaluation["figures"].get(name) for name in COMPARED},
        "note": note(marks),
    }


def _images(folder: Path) -> tuple[set[str], set[str]]:
    """Ids of the images that at least one of the demo's models learned from, and of the held-out images."""
    split: dict[str, set[str]] = {"train": set(), "heldout": set()}
    for name in MODELS.values():
        table = pq.read_table(folder / name / "rows.parquet", columns=["image_id", "split"])
        for image_id, kind in zip(table["image_id"].to_pylist(), table["split"].to_pylist(), strict=True):
            split[kind].add(image_id)
    return split["train"], split["heldout"] - split["train"]


def own_peak_mb() -> float:
    """The largest resident memory of this process so far, MB."""
    return peak_bytes() / 1e6


def _filter(folder: Path) -> str:
    """SQL of the images that at least one model chose."""
    return " OR ".join(
        f"({filter_of(read_provenance(folder / name)['catalogs'][MAIN])})" for name in MODELS.values()
    )


def _captions(catalog: Catalog) -> list[Caption]:
    """Captions at regular intervals in the captioned rows, by id, so that good and bad ones are shown."""
    table = catalog.table(
        ["image_id", "caption", "title"], where="caption IS NOT NULL AND title IS NOT NULL", with_row_id=True
    )
    table = table.sort_by("image_id")
    every = list(range(0, len(table), max(1, len(table) // CAPTIONS_SHOWN)))
    table = table.take(np.array(every[:CAPTIONS_SHOWN], np.int64))
    images = catalog.take(table["_rowid"].to_numpy(), ["image"])["image"].to_pylist()
    return list(zip(images, table["caption"].to_pylist(), table["title"].to_pylist(), strict=True))


def _nearest(folder: Path, images: Path, evaluation: Mapping[str, Any]) -> list[Nearest]:
    """The training images nearest to the first drawn images."""
    samples = evaluation["seen_samples"][:NEAREST_OF]
    uri = str(folder / "catalog.lance")
    found = sources(
        [images / sample["file"] for sample in samples],
        folder / MODELS["diffusion"],
        catalog=uri,
        count=NEAREST,
        strangers=STRANGERS,
        copies=0,
    )
    ids = {each.image_id for one in found for each in one.sources}
    rows = Catalog.open(uri).table(["image_id", "image"], f"image_id IN ({listed(sorted(ids))})").to_pylist()
    pictures = {row["image_id"]: thumbnail(row["image"]) for row in rows}
    return [
        (
            sample["prompt"],
            (images / sample["file"]).read_bytes(),
            [(pictures.get(each.image_id), each.credit, each.percentile) for each in one.sources],
        )
        for sample, one in zip(samples, found, strict=True)
    ]


def _catalog_facts(catalog: Catalog) -> dict[str, Any]:
    counts = {policy.value: catalog.count(licenses.sql_filter(policy)) for policy in licenses.Policy}
    return {
        "images in the catalog": catalog.count(),
        "fetched": catalog.count("fetch_status = 'ok'"),
        "with a human label": catalog.count("label IS NOT NULL"),
        "captioned by the model": catalog.count("caption IS NOT NULL"),
        "too unsure for a caption": catalog.count("caption_status = 'unsure'"),
        "usable for commercial models": counts["commercial"],
        "usable for non-commercial models": counts["noncommercial"],
    }
