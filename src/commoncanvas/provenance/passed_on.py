"""The parts by others whose weights are in a model: their authors, their licences, and the texts of these."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from commoncanvas import licenses
from commoncanvas.models.attribution import LICENSE_FILES
from commoncanvas.models.card import UNKNOWN
from commoncanvas.provenance.record import Part

IN_WEIGHTS = ("init", "vae", "text_encoder", "word_embeddings")
"""Roles of the parts whose weights, changed or not, are in the model. The others only made its data or its features."""
TEXTS = "licenses"
"""The folder with a folder for each part, called by its role."""


def write_texts(parts: Iterable[Part], folder: Path) -> None:
    """Write the licence and the notice of each part of a model folder."""
    for part in parts:
        for name, text in part.attribution.texts:
            path = folder / TEXTS / part.role / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text)


def by_others(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The parts in a model's weights that CommonCanvas did not train. The authors of the others are those of the images
    in the credits.
    """
    return [each for each in record["built_on"] if each["role"] in IN_WEIGHTS and each["origin"] is None]


def license_text(part: Mapping[str, Any], folder: Path) -> str | None:
    """Where the text of a part's licence is: a file of the model folder, or an address if the licence lets a link stand
    for its text, as Creative Commons' do. None if it isn't known.
    """
    for name in LICENSE_FILES:
        if (folder / TEXTS / part["role"] / name).is_file():
            return f"{TEXTS}/{part['role']}/{name}"
    known = licenses.parse(part["license"])
    return known.url if known.reusable else None


def authors(part: Mapping[str, Any]) -> str:
    """The authors in a record; UNKNOWN if it has none."""
    return part.get("authors") or UNKNOWN


def gaps(record: Mapping[str, Any], folder: Path) -> Iterator[tuple[dict[str, Any], list[str]]]:
    """Each part by others with what isn't known of it, of `license`, `authors` and `text`."""
    for part in by_others(record):
        missing = {
            "license": part["license"] == UNKNOWN,
            "authors": authors(part) == UNKNOWN,
            "text": license_text(part, folder) is None,
        }
        if any(missing.values()):
            yield part, [name for name, is_missing in missing.items() if is_missing]
