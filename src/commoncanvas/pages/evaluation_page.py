"""The page about a model: its samples, figures, training data and credits."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from commoncanvas.catalog import Catalog
from commoncanvas.catalog.credits import read_credits
from commoncanvas.evaluation import Evaluation
from commoncanvas.images.thumbnail import thumbnail
from commoncanvas.pages.report import GridItem, write_report
from commoncanvas.provenance.folder import read_rows
from commoncanvas.provenance.record_file import read_provenance
from commoncanvas.table.taken_down_rows import taken_down
from commoncanvas.training.log import read_log

REQUIRES = ("name", "task", "catalogs", "recipe", "rows", "licenses", "result_license", "training", "seed")
CREDITED = 1000
"""Most credits on the page. The model folder's credits.csv has all."""


def write_evaluation_page(found: Evaluation, out: str | Path) -> None:
    """Write the page about `found`, one file, to `out`. All text is escaped, and only http(s) URLs become links.

    Raises ModelError if the model's record lacks a needed field, CommonCanvasError if the page can't be written.
    """
    record = read_provenance(found.model, REQUIRES)
    rows = read_rows(found.model)
    gone = _taken_down(found)
    shown = (rows["split"].to_numpy() == "train") & ~np.isin(rows["image_id"].to_pylist(), [*gone])
    creators = rows.filter(pa.array(shown))["creator"]
    summary = {
        "recipe": record["name"],
        **found.figures(),
        "feature_extractor": found.feature_extractor,
        "images": record["rows"]["train"],
        "licenses": record["licenses"],
        "creators": Counter(name or "not stated" for name in creators.to_pylist()),
        "result_license": record["result_license"],
        "training": training_facts(record, found.to_dict()),
    }
    file = Path(found.model) / "credits.csv"
    credits = [*islice(_credits(file, gone), CREDITED + 1)] if file.is_file() else []
    write_report(
        summary,
        out=Path(out),
        grid=grid_of(Path(found.out), found.to_dict()),
        losses={"diffusion": losses_of(Path(found.model))},
        catalog_stats={
            source["uri"]: f"version {source['version']}" for source in record["catalogs"].values()
        },
        captions=[],
        credits=credits[:CREDITED],
        more_credits=f"{file} has all" if len(credits) > CREDITED else "",
        commands=[
            shlex.join(["commoncanvas", "evaluate", found.model, "--html", str(out)]),
            shlex.join(["commoncanvas", "generate", found.model, found.seen_samples[0].prompt]),
        ],
    )


def training_facts(record: Mapping[str, Any], evaluation: Mapping[str, Any]) -> dict[str, Any]:
    """Facts for the page on how a diffusion model was trained and sampled."""
    return {
        "network": "Transformer" if record["recipe"].get("transformer") else "U-Net",
        "images": record["rows"]["train"],
        "held_out": record["rows"]["heldout"],
        "parameters": record["training"]["parameters"],
        "steps": record["training"]["steps"],
        "images_seen": record["training"]["images_seen"],
        "image_size": record["recipe"]["size"],
        "seed": record["seed"],
        "guidance_scale": evaluation["guidance_scale"],
        "sampling_steps": evaluation["steps"],
    }


def grid_of(folder: Path, evaluation: Mapping[str, Any]) -> list[GridItem]:
    """The samples of an evaluation, with files in `folder`."""
    return [
        (
            sample["prompt"],
            _small(folder / sample["file"]),
            sample["kind"],
            _small(folder / sample["real_file"]),
        )
        for sample in (*evaluation["seen_samples"], *evaluation["heldout_samples"])
    ]


def losses_of(model: Path) -> list[tuple[float, float]]:
    """(step, loss) of each entry in the log of a model's run; empty if the run's folder is not next to the model."""
    model = model.resolve()
    log = model.with_name(f"{model.name}-run") / "log.jsonl"
    return [(entry["step"], entry["loss"]) for entry in read_log(log) if "loss" in entry]


def _taken_down(found: Evaluation) -> frozenset[str]:
    """Ids of the images that were taken down from the model's catalogs, up to now."""
    uris = [each["uri"] for each in found.catalogs.values()]
    return taken_down([Catalog.open(uri) for uri in map(str, uris)]).image_ids


def _credits(file: Path, gone: frozenset[str]) -> Iterator[dict[str, str | None]]:
    for one in read_credits(file):
        if one.image_id in gone:
            continue
        yield {
            "image_id": one.image_id,
            "title": one.title,
            "creator": one.creator,
            "creator_url": one.creator_url,
            "page_url": one.source_url,
            "license": one.license,
            "license_url": one.license_url,
        }


def _small(file: Path) -> bytes:
    """An image's bytes, or its thumbnail's if they are fewer."""
    data = file.read_bytes()
    return min(data, thumbnail(data) or data, key=len)
