"""Who made a model, and the texts of its licence: what must go with its weights when they are passed on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from commoncanvas.core.text import one_line
from commoncanvas.models.card import UNKNOWN, card_license
from commoncanvas.models.hub import HUB, owned
from commoncanvas.models.loading import beside
from commoncanvas.models.packaged import PACKAGED

CITATION = "CITATION.cff"
LICENSE_FILES = ("LICENSE", "LICENSE.txt", "LICENSE.md", "LICENCE", "COPYING")
NOTICE_FILES = ("NOTICE", "NOTICE.txt", "NOTICE.md")
STANDARD = {"apache-2.0": "Apache-2.0.txt"}
"""Licences whose text is the same for every work -> the file in licenses/texts."""
MAX_BYTES = 1 << 20
"""Longer files are no licence."""


@dataclass(frozen=True)
class Attribution:
    """The authors of a model, its page, and its licence and notice: names of files with their texts."""

    authors: str = UNKNOWN
    page: str | None = None
    texts: tuple[tuple[str, bytes], ...] = ()


UNATTRIBUTED = Attribution()
"""Of a model of which nothing is known."""


def attribution(model: str) -> Attribution:
    """What the folder or hub id `model` says of its authors and its licence.

    Authors: of a packaged model as NOTICE has them, or those of CITATION.cff, or else the owner on the hub. Raises
    ModelError if the hub can't be used.
    """
    if model in PACKAGED:
        known = PACKAGED[model]
        return Attribution(known.authors, known.page, _standard(known.license))
    on_hub = owned(model) and not Path(model).exists()
    owner = f"{model.split('/')[0]} (owner of {model} on the Hugging Face hub)" if on_hub else UNKNOWN
    texts = tuple(_texts(model))
    if not any(name in LICENSE_FILES for name, _ in texts):
        texts += _standard(card_license(model))
    return Attribution(_cited(model) or owner, f"{HUB}/{model}" if on_hub else None, texts)


def _texts(model: str) -> Iterator[tuple[str, bytes]]:
    for name in (*LICENSE_FILES, *NOTICE_FILES):
        path = beside(model, name)
        if path and path.stat().st_size <= MAX_BYTES:
            yield name, path.read_bytes()


def _standard(license: str) -> tuple[tuple[str, bytes], ...]:
    """The text of a licence that is the same for every work."""
    file = STANDARD.get(license.casefold())
    return (("LICENSE", files("commoncanvas.licenses").joinpath("texts", file).read_bytes()),) if file else ()


def _cited(model: str) -> str | None:
    """The authors in CITATION.cff (https://github.com/citation-file-format/citation-file-format, 1.2.0)."""
    path = beside(model, CITATION)
    if path is None or path.stat().st_size > MAX_BYTES:
        return None
    try:
        found = yaml.safe_load(path.read_bytes())
    except (yaml.YAMLError, UnicodeDecodeError):
        return None
    authors = found.get("authors") if isinstance(found, dict) else None
    names = [_name(each) for each in authors if isinstance(each, dict)] if isinstance(authors, list) else []
    return ", ".join(filter(None, names)) or None


def _name(author: dict[str, Any]) -> str:
    parts = [author.get(key) for key in ("given-names", "name-particle", "family-names", "name-suffix")]
    return one_line(author.get("name") or " ".join(str(part) for part in parts if part))
