"""The prompts of an arena: a benchmark's published file, or a list of one's own."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from commoncanvas.core.errors import ArenaError
from commoncanvas.core.text import clean
from commoncanvas.drawing.requests import DELIMITERS, read_prompts
from commoncanvas.evaluation.suite_prompt import SuitePrompt
from commoncanvas.evaluation.suites.layout import flat, image_name
from commoncanvas.evaluation.suites.reading import numbered, read_text
from commoncanvas.evaluation.suites.suite import load_suite

CATEGORY = "category"


@dataclass(frozen=True)
class Prompt:
    """One prompt. `id` is made of its text, so the same text has the same id in every file."""

    id: str
    text: str
    category: str


@dataclass(frozen=True)
class PromptFile:
    """The different prompts of a file, and where the images of each are in a folder, by prompts and images a prompt."""

    prompts: list[Prompt]
    files: Callable[[int], list[list[str]]]


def prompts_of(spec: str) -> PromptFile:
    """Read `parti:PartiPrompts.tsv`, or another suite with its file; or a file alone: a prompt on each line, or CSV or
    TSV with the columns `prompt` and, if wanted, `category`. Prompts whose text was there before are left out.

    Raises RecipeError, EvaluationError, and ArenaError if there is no prompt.
    """
    kind, separator, file = spec.partition(":")
    if separator and kind.isidentifier() and not Path(spec).exists():
        suite = load_suite(kind)
        found, names = suite.prompts(Path(file)), suite.files
    else:
        found, names = _own(Path(spec)), flat(image_name)[0]
    unique: dict[str, tuple[int, Prompt]] = {}
    for number, each in enumerate(found):
        text = clean(each.text)
        if text is not None:
            unique.setdefault(text, (number, Prompt(_id(text), text, _category(each))))
    if not unique:
        raise ArenaError(f"prompts {spec}: no prompts in this file")
    kept = [number for number, _ in unique.values()]

    def files(count: int) -> list[list[str]]:
        every = names(found, count)
        return [every[number] for number in kept]

    return PromptFile([prompt for _, prompt in unique.values()], files)


def _id(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _category(prompt: SuitePrompt) -> str:
    """The prompt's `category`, or the first grouping that its benchmark has."""
    groups = prompt.categories
    return clean(groups.get(CATEGORY) or next(iter(groups.values()), "")) or ""


def _own(path: Path) -> list[SuitePrompt]:
    delimiter = DELIMITERS.get(path.suffix.lower())
    if delimiter is None:
        return [SuitePrompt(numbered(at), row["prompt"]) for at, row in enumerate(read_prompts(path))]
    rows = csv.DictReader(read_text(path).splitlines(keepends=True), delimiter=delimiter)
    names = [name.strip().lower() for name in rows.fieldnames or ()]
    rows.fieldnames = names
    if "prompt" not in names:
        raise ArenaError(f"prompts {path}, line 1: no column prompt; found {', '.join(names) or 'nothing'}")
    found: list[SuitePrompt] = []
    for row in rows:
        text = (row["prompt"] or "").strip()
        if not text and any(row.values()):
            raise ArenaError(f"prompts {path}, line {rows.line_num}: no prompt")
        if text:
            groups = {CATEGORY: row[CATEGORY].strip()} if row.get(CATEGORY) else {}
            found.append(SuitePrompt(numbered(len(found)), text, groups))
    return found
