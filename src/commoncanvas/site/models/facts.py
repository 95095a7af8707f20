"""What a page says of a model: read from its folder, as `train`, `evaluate`, `memorisation` and `release` wrote it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import yaml

from commoncanvas import licenses
from commoncanvas.core.text import clean, one_line
from commoncanvas.models.hub import HUB, owned
from commoncanvas.provenance.folder import ROWS
from commoncanvas.provenance.hub import METRICS, UNPUBLISHED
from commoncanvas.provenance.markdown import last_part
from commoncanvas.provenance.model_card import (
    FIGURES,
    WHAT,
    bibtex,
    read_evaluation,
    read_memorisation,
)
from commoncanvas.provenance.verdict import metric_rows, verdicts
from commoncanvas.site.model_list import Model
from commoncanvas.site.models.credits import has_credits
from commoncanvas.site.models.files import address, documents, downloads, samples, weights

CREATORS = 12
"""The creators of most images that are named one by one."""
SPLITS = {"seen": "Prompts seen in training", "heldout": "Prompts held out"}
UNREADABLE = (
    "Its provenance.json is not as this version of commoncanvas writes it; train or release it again."
)


def facts_of(model: Model) -> dict[str, Any]:
    """All facts, as JSON. What is not known is missing; `problem` says why."""
    found: dict[str, Any] = {
        "name": model.name,
        "page": model.path,
        "draws": model.draws,
        "problem": model.problem,
        "hub": f"{HUB}/{model.given}" if model.folder is None and owned(model.given) else None,
    }
    try:
        if model.folder is not None:
            found |= _of_folder(model, model.folder)
            if model.record is not None:
                found |= _of_record(model.record) | _measured(model.folder, model.record)
        return found
    except (AttributeError, KeyError, TypeError, ValueError):
        return found | {"problem": UNREADABLE}


def _of_folder(model: Model, folder: Path) -> dict[str, Any]:
    files = list(weights(folder, model.record or {}))
    return {
        "weights": [{"file": name, "sha256": sha256, "bytes": size} for name, sha256, size in files],
        "bytes": sum(size for _, _, size in files),
        "documents": [
            {"title": title, "page": address(model, "documents", name)}
            for name, title in documents(folder).items()
        ],
        "files": [
            {"name": name, "url": address(model, "files", name), "bytes": (folder / name).stat().st_size}
            for name in downloads(folder)
        ],
        "samples": [
            {
                "picture": address(model, "pictures", each.file),
                "prompt": one_line(each.prompt),
                "learned": each.learned,
            }
            for each in samples(folder)
        ],
        "credits": f"{model.path}/credits" if has_credits(folder) else None,
        "creators_of_most": _most_creators(folder),
    }


def _of_record(record: Mapping[str, Any]) -> dict[str, Any]:
    stated = record["result_license"]
    license = licenses.parse(stated) if stated else None
    training = record.get("training", {})
    return {
        "what": WHAT[record["task"]],
        "task": record["task"],
        "license": license.name if license and license.known else None,
        "license_url": license.url if license else None,
        "license_note": one_line(record.get("result_license_note") or "") or None,
        "created": str(record.get("created", ""))[:10],
        "images": int(record["rows"]["train"]),
        "heldout": int(record["rows"]["heldout"]),
        "creators": int(record["creators"]),
        "licenses": dict(record["licenses"]),
        "catalogs": list(_catalogs(record)),
        "parts": list(_parts(record)),
        "training": {
            name: training[name] for name in ("steps", "images_seen", "parameters") if name in training
        },
        "recipe": yaml.safe_dump(
            _without_places(record.get("recipe", {})), sort_keys=False, allow_unicode=True
        ),
        "cite": bibtex(dict(record), UNPUBLISHED),
    }


def _catalogs(record: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for name, source in record["catalogs"].items():
        yield {
            "name": name,
            "catalog": last_part(source["uri"]),
            "version": source["version"],
            "tag": source.get("tag"),
            "rows": licenses.shortened(str(source["filter"])),
            "images": source["rows"]["train"],
        }


def _parts(record: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for each in record["built_on"]:
        origin = each.get("origin")
        yield {
            "role": str(each["role"]).replace("_", " "),
            "model": last_part(each["model"]),
            "license": each.get("license"),
            "authors": None if each.get("authors") == "unknown" else clean(each.get("authors")),
            "page": each.get("page"),
            "images": origin["rows"]["train"] if origin else None,
        }


def _measured(folder: Path, record: Mapping[str, Any]) -> dict[str, Any]:
    evaluation, memorisation = read_evaluation(folder), read_memorisation(folder)
    figures = {**evaluation.get("figures", {}), "feature_extractor": evaluation.get("feature_extractor")}
    return {
        "figures": [row for row in metric_rows(figures) if set(row["values"]) - {None, "—"}],
        "verdicts": verdicts(figures),
        "own_figures": {
            FIGURES[name]: value for name, value in record.get("figures", {}).items() if name in FIGURES
        },
        "fingerprints": list(_fingerprints(evaluation)),
        "memorisation": {
            name: memorisation[name]
            for name in ("random", "at_risk", "false_alarms", "given_back", "trained_on", "fingerprint")
        }
        if memorisation
        else None,
    }


def _fingerprints(evaluation: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """How the figures were measured; figures that were measured in the same way are together."""
    for split, marks in (evaluation.get("fingerprints") or {}).items():
        together: dict[str, list[str]] = {}
        for name, mark in marks.items():
            together.setdefault(mark["digest"], []).append(METRICS.get(name, name))
        for digest, names in together.items():
            mark = next(mark for mark in marks.values() if mark["digest"] == digest)
            facts = {name: value for name, value in mark.items() if name not in ("digest", "libraries")}
            yield {
                "prompts": SPLITS.get(split, split),
                "figures": names,
                "digest": digest,
                "measured": {name.replace("_", " "): one_line(value) for name, value in facts.items()},
                "libraries": dict(mark.get("libraries") or {}),
            }


def _without_places(value: Any) -> Any:
    """A recipe whose paths on this machine are only their last parts."""
    if isinstance(value, dict):
        return {name: _without_places(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_without_places(each) for each in value]
    return last_part(value) if isinstance(value, str) and value.startswith(("/", "~", "file:")) else value


def _most_creators(folder: Path) -> list[tuple[str, int]]:
    path = folder / ROWS
    if not path.is_file():
        return []
    stat = path.stat()
    return list(_counted(path, stat.st_mtime_ns, stat.st_size))


@lru_cache(maxsize=32)
def _counted(path: Path, changed: int, size: int) -> tuple[tuple[str, int], ...]:
    """Names and numbers of images of the creators of most training images, of a file as it was `changed`."""
    try:
        rows = pq.read_table(path, columns=["creator"], filters=[("split", "=", "train")])
    except (OSError, pa.ArrowException):
        return ()
    counts = pc.value_counts(rows["creator"].drop_null())
    largest = pc.select_k_unstable(counts.field("counts"), CREATORS, [("counts", "descending")])
    return tuple(
        (clean(row["values"]) or "unknown", row["counts"]) for row in counts.take(largest).to_pylist()
    )
