"""What may be seen of a model's folder: documents, downloads and pictures by name, and nothing else."""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from commoncanvas.provenance.model_card import CARD, EVALUATION, MEMORISATION, read_evaluation
from commoncanvas.provenance.record_file import RECORD
from commoncanvas.release.model_folder import MARK
from commoncanvas.release.sums import SUMS
from commoncanvas.site.model_list import Model

DOCUMENTS = {
    CARD: "Model card",
    "technical-report.md": "Technical report",
    "EU-training-summary.md": "Summary of the training content (EU AI Act)",
    "openness.md": "How open it is",
    "LICENSE": "Licence",
    "THIRD-PARTY.md": "Works by others in it",
}
DOWNLOADS = (
    "credits.csv",
    "credits.parquet",
    "rows.parquet",
    SUMS,
    "EU-training-summary.json",
    "spdx.json",
    "mof.yml",
    "CITATION.cff",
)
RELEASED = (RECORD, "recipe.yaml", EVALUATION.as_posix(), MEMORISATION.as_posix())
"""Downloads of a release alone: before, they have paths of the machine."""
PICTURES = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".webp": "image/webp"}
MOST_DOCUMENT, MOST_PICTURE = 2_000_000, 20_000_000
MOST_LICENSES = 100
SAMPLES = 12
"""Of each set of prompts."""
_IMAGE = re.compile(r"!\[[^\]]{0,300}\]\(\s{0,9}<?([^)\s>]{1,300})")


@dataclass(frozen=True)
class Sample:
    """A drawn image of the model's evaluation. `learned`: whether the model learned from the prompt."""

    file: str
    prompt: str
    learned: bool


def documents(folder: Path) -> dict[str, str]:
    """Path in the folder -> title, of the texts that are shown as pages."""
    found = {name: title for name, title in DOCUMENTS.items() if _is_file(folder, name, MOST_DOCUMENT)}
    texts = sorted((folder / "licenses").rglob("*"))[:MOST_LICENSES] if (folder / "licenses").is_dir() else []
    for name in (path.relative_to(folder).as_posix() for path in texts):
        if _is_file(folder, name, MOST_DOCUMENT):
            found[name] = f"Licence text: {name.removeprefix('licenses/')}"
    return found


def downloads(folder: Path) -> list[str]:
    """Paths in the folder of the files that can be downloaded."""
    released = RELEASED if (folder / MARK).is_file() else ()
    return [name for name in (*DOWNLOADS, *released) if _is_file(folder, name)]


def samples(folder: Path) -> list[Sample]:
    """Images that `evaluate` drew, some of each set of prompts. The real images beside them are not shown."""
    try:
        found = read_evaluation(folder)
        return [
            Sample(file, str(each.get("prompt") or ""), split == "seen")
            for split in ("seen", "heldout")
            for each in found.get(f"{split}_samples", ())[:SAMPLES]
            if _is_picture(folder, file := (EVALUATION.parent / str(each.get("file"))).as_posix())
        ]
    except (AttributeError, TypeError, ValueError):  # not what `evaluate` writes
        return []


def pictures(folder: Path) -> frozenset[str]:
    """Paths in the folder of the pictures that pages show: samples, and what its Markdown shows."""
    shown = {sample.file for sample in samples(folder)}
    for name in documents(folder):
        if name.endswith(".md"):
            text = (folder / name).read_text(encoding="utf-8", errors="replace")
            named = map(posixpath.normpath, _IMAGE.findall(text))
            shown.update(file for file in named if _is_picture(folder, file))
    return frozenset(shown)


def address(model: Model, kind: str, name: str) -> str:
    """Of a file: `kind` is documents, files or pictures."""
    return f"{model.path}/{kind}/{quote(name)}"


def weights(folder: Path, record: Mapping[str, Any]) -> Iterator[tuple[str, str, int]]:
    """Path in the folder, SHA-256 as provenance.json states it, and bytes of each file of weights."""
    for name, sha256 in record.get("weights", {}).items():
        if _is_file(folder, name):
            yield name, sha256, (folder / name).stat().st_size


def text_of(folder: Path, name: str) -> str:
    """A document; if it is JSON, laid out."""
    text = (folder / name).read_text(encoding="utf-8", errors="replace")
    return json.dumps(json.loads(text), indent=2) if name.endswith(".json") else text


def _is_picture(folder: Path, name: str) -> bool:
    return Path(name).suffix.lower() in PICTURES and _is_file(folder, name, MOST_PICTURE)


def _is_file(folder: Path, name: str, most: int | None = None) -> bool:
    """Whether it is a file inside of the folder, also after links are followed, of at most `most` bytes."""
    try:
        path = (folder / name).resolve()
        inside = path.is_relative_to(folder.resolve()) and path.is_file()
        return inside and (most is None or path.stat().st_size <= most)
    except (OSError, ValueError):  # a null byte, or too long
        return False
