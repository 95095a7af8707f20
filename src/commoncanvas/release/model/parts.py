"""The parts by others in a released model: the provider's answers about them, and the file that names them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from commoncanvas.core.errors import ReleaseError
from commoncanvas.core.files import replace_json, replace_text
from commoncanvas.core.text import counted, markdown_text
from commoncanvas.models.card import UNKNOWN
from commoncanvas.provenance.markdown import last_part
from commoncanvas.provenance.passed_on import IN_WEIGHTS, TEXTS, authors, by_others, gaps, license_text
from commoncanvas.provenance.record_file import RECORD
from commoncanvas.release.about import About

NAME = "THIRD-PARTY.md"
WORDS = {"license": "the licence", "authors": "the authors", "text": "the text of the licence"}
CHANGED = {
    "init": "changed: the training began with its weights",
    "word_embeddings": "changed: its vectors of words are where the training began",
}
FOLDERS = {"vae": "vae/", "text_encoder": "text_encoder*/ and tokenizer*/"}


def check_answers(record: Mapping[str, Any], about: About) -> None:
    """Raises ReleaseError if `about` has answers for parts that the model doesn't have."""
    roles = [part["role"] for part in by_others(record)]
    for role in about.parts:
        if role not in roles:
            there = f"its parts by others are: {', '.join(roles)}" if roles else "no part in it is by others"
            raise ReleaseError(f"parts.{role}: the model has no such part; {there}")


def with_answers(record: dict[str, Any], about: About, out: Path) -> None:
    """Put the provider's answers into the record in `out`, and their licence files beside it."""
    if not about.parts:
        return
    for role, answer in about.parts.items():
        (part,) = (each for each in by_others(record) if each["role"] == role)
        for name in ("license", "authors", "page"):
            part[name] = getattr(answer, name) or part.get(name)
        if answer.license_file:
            folder = out / TEXTS / role
            folder.mkdir(parents=True, exist_ok=True)
            replace_text(folder / "LICENSE", answer.license_file)
    replace_json(out / RECORD, record, allow_nan=True)  # as the model's maker wrote it


def write(record: Mapping[str, Any], out: Path) -> None:
    """Write THIRD-PARTY.md, if a part in the weights is by others."""
    if by_others(record):
        replace_text(out / NAME, "\n".join(_lines(record, out)) + "\n")


def still_missing(record: Mapping[str, Any], out: Path) -> Iterator[str]:
    """A line for each part by others, with what a release needs and doesn't have."""
    for part, missing in gaps(record, out):
        names = " and ".join(WORDS[name] for name in missing)
        yield f"{names} of {_title(part)}; look it up, and answer parts.{part['role']} in --about"


def _lines(record: Mapping[str, Any], out: Path) -> Iterator[str]:
    yield f"# Works by others in {markdown_text(record['name'])}"
    yield ""
    yield "The weights of these models are in this folder. Each has its own authors and its own licence: pass both on."
    for part in record["built_on"]:
        if part["role"] not in IN_WEIGHTS:
            continue
        role, origin = part["role"], part["origin"]
        yield f"\n## {markdown_text(_title(part))}\n"
        if folder := FOLDERS.get(role):
            yield f"- where: `{folder}`"
        yield f"- {CHANGED.get(role, 'not changed, but for its form')}"
        if origin:
            images = counted(origin["rows"]["train"], "images")
            yield f"- trained with CommonCanvas on {images}; `credits.csv` has their creators and licences"
            continue
        yield f"- authors: {markdown_text(authors(part))}"
        if part.get("page"):
            yield f"- page: {markdown_text(part['page'])}"
        yield f"- licence: {markdown_text(part['license'])}"
        text = license_text(part, out) or UNKNOWN
        yield f"- text of the licence: {text if '://' in text or text == UNKNOWN else f'[{text}]({text})'}"


def _title(part: Mapping[str, Any]) -> str:
    return f"{part['role'].replace('_', ' ')} {last_part(part['model'])}"
