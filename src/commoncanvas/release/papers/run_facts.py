"""What the documents say of a training run: its log, its evaluation and studies, as far as they are in the release."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from commoncanvas.core.errors import ReleaseError
from commoncanvas.provenance.model_card import EVALUATION
from commoncanvas.release.model_folder import ModelFolder
from commoncanvas.training.log import read_log

LOG = "log.jsonl"
CAPTIONS = "caption-report.json"
"""The result of `caption report --json`, if the provider puts it into the release."""
STUDY = "scarcity.json"


@dataclass(frozen=True)
class Run:
    """A training's log. `losses` and `validation`: (step, loss) pairs, the second of held-out images."""

    losses: list[tuple[float, float]]
    validation: list[tuple[float, float]]
    seconds: float | None
    """Time of the training, added up over its processes; None if the log has none."""
    threads: int | None
    peak_memory_gb: float | None
    skipped: int


def run_of(model: ModelFolder, out: Path) -> Run | None:
    """The log of the training: in the release, in the model folder, or in the run's folder next to it; else None."""
    path = model.path.resolve()
    folders = (out / "training", out, path, path.with_name(f"{path.name}-run"))
    places = [folder / LOG for folder in folders]
    entries = next((found for place in places if (found := read_log(place))), [])
    losses, validation = (
        [(each["step"], each[name]) for each in entries if name in each]
        for name in ("loss", "validation_loss")
    )
    if not losses:
        return None
    return Run(
        losses,
        validation,
        _seconds(entries),
        max((int(each["threads"]) for each in entries if "threads" in each), default=None),
        max((each["peak_memory_gb"] for each in entries if "peak_memory_gb" in each), default=None),
        int(sum(each.get("skipped", 0) for each in entries)),
    )


def _seconds(entries: Sequence[Mapping[str, float]]) -> float | None:
    """Each process of a resumed run counts its seconds from 0."""
    counted = [each["seconds"] for each in entries if "seconds" in each]
    ends = [now for now, after in zip(counted, [*counted[1:], 0.0], strict=True) if after < now]
    return sum(ends) if counted else None


def evaluation_of(model: ModelFolder, out: Path) -> dict[str, Any] | None:
    """evaluation.json of the release, or of the model folder. Raises ReleaseError if it can't be read."""
    return _first([out / EVALUATION, model.path / EVALUATION], ["figures"])


def caption_report_of(model: ModelFolder, out: Path) -> dict[str, Any] | None:
    """See CAPTIONS. Raises ReleaseError."""
    needed = ["captions", "words_mean", "vocabulary", "distinct", "human", "clip"]
    return _first([out / CAPTIONS, model.path / CAPTIONS], needed)


def study_of(out: Path) -> tuple[Path, dict[str, Any]] | None:
    """The folder and the result of a study of scarcity in the release, if there is one. Raises ReleaseError."""
    paths = sorted(out.rglob(STUDY))
    found = _first(paths, ["rows", "notes", "steps", "finished"])
    return (paths[0].parent, found) if found else None


def _first(paths: Sequence[Path], needed: Sequence[str]) -> dict[str, Any] | None:
    """The JSON object in the first of `paths` that is a file. Raises ReleaseError, also if it lacks one of `needed`."""
    path = next((each for each in paths if each.is_file()), None)
    if path is None:
        return None
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ReleaseError(f"{path} is not valid JSON: {error}; write it again or remove it") from error
    if missing := [name for name in needed if not isinstance(found, dict) or name not in found]:
        raise ReleaseError(f"{path} lacks {', '.join(missing)}; write it again or remove it")
    return found
