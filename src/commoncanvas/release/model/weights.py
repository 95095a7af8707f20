"""The files of a model folder, copied for other people: without places of this machine in their settings."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from commoncanvas.core.console import progress
from commoncanvas.core.files import replace_json
from commoncanvas.provenance.model_card import CARD, EVALUATION, MEMORISATION
from commoncanvas.provenance.record_file import RECORD
from commoncanvas.release.model.shareable import shareable
from commoncanvas.release.sums import SUMS

SETTINGS = ("config.json", "_config.json", "model_index.json")
REPORTS = ("scarcity.json", "caption-report.json")
"""Ends of names of JSON files that may name places. Other JSON files, such as vocabularies, are copied as they are."""
REAL = "-real.png"
"""End of the names of an evaluation's real images. They stay here: the held-out ones have no credit."""


def copy_model(model: Path, out: Path) -> None:
    """Copy all files but the card, which is written anew, and the real images of an evaluation.

    A file that was copied before, by a run that was stopped, is not copied again.
    """
    files = list(_files(model))
    with progress("copy", len(files), "files") as bar:
        for path in files:
            target = out / path.relative_to(model)
            target.parent.mkdir(parents=True, exist_ok=True)
            change = _change(path.relative_to(model))
            if change and (shared := change(found := read_json(path), model)) != found:
                replace_json(target, shared, allow_nan=True)  # as the model's maker wrote it
            elif not (target.is_file() and target.stat().st_size == path.stat().st_size):
                partial = target.with_name(f".{target.name}.part")
                shutil.copyfile(path, partial)
                partial.replace(target)
            bar.advance()


def _change(name: Path) -> Callable[[Any, Path], Any] | None:
    """What makes a JSON file shareable; None for files that are copied as they are."""
    if name == EVALUATION:
        return _evaluation
    return (
        shareable if name in (Path(RECORD), MEMORISATION) or name.name.endswith(SETTINGS + REPORTS) else None
    )


def _evaluation(found: dict[str, Any], model: Path) -> Any:
    without = {
        name: [each | {"real_file": None} for each in found[name]]
        for name in ("seen_samples", "heldout_samples")
        if name in found
    }
    return shareable(found | without, model)


def read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _files(model: Path) -> Iterator[Path]:
    """The files to copy. A link that leads out of the folder is skipped: the file may not be meant for others."""
    inside = model.resolve()
    for path in sorted(model.rglob("*")):
        parts = path.relative_to(model).parts
        hidden = any(part.startswith(".") for part in parts)
        own = path.is_file() and path.resolve().is_relative_to(inside)
        if own and not hidden and parts[0] not in (CARD, SUMS) and not path.name.endswith(REAL):
            yield path
