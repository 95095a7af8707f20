"""Folder forms: images put where a benchmark's own scorer looks for them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from commoncanvas.core.errors import EvaluationError
from commoncanvas.core.files import replace_bytes, replace_text
from commoncanvas.evaluation.suite_prompt import SuitePrompt
from commoncanvas.evaluation.suites.suite import Drawn

PROMPTS = "prompts.jsonl"
IMAGES = (".png", ".jpg", ".jpeg")


def place(source: Path, target: Path) -> None:
    """Make `target` the same file as `source`: a hard link, or a copy where links don't work."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists() and target.samefile(source):
        return
    partial = target.with_name(f".{target.name}.link")
    partial.unlink(missing_ok=True)
    try:
        os.link(source, partial)
    except OSError:
        replace_bytes(target, source.read_bytes())
    else:
        partial.replace(target)


def refuse_others(folder: Path, files: Sequence[Sequence[str]]) -> None:
    """Raise EvaluationError if `folder` has images that this run won't write: the authors' scorer would count them."""
    mine = {(folder / name).resolve() for names in files for name in names}
    found = (path for path in folder.rglob("*") if path.suffix.lower() in IMAGES)
    other = next((path for path in found if path.resolve() not in mine), None)
    if other is not None:
        raise EvaluationError(
            f"{other} is of another run, and the benchmark's scorer would count it; remove {folder}, or give "
            "another --out"
        )


def write_json(path: Path, value: Any) -> None:
    """Write JSON on one line, atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_text(path, json.dumps(value, ensure_ascii=False) + "\n")


def flat(
    name: Callable[[str, int, int], str],
) -> tuple[
    Callable[[Sequence[SuitePrompt], int], list[list[str]]],
    Callable[[Sequence[SuitePrompt], Drawn, Path], None],
]:
    """`files` and `lay_out` of a suite without a scorer of its own: all images in one folder, beside their prompts.

    `name`: (a prompt's name, number of the image, images a prompt) -> the file's name.
    """

    def files(prompts: Sequence[SuitePrompt], count: int) -> list[list[str]]:
        return [[name(each.name, number, count) for number in range(count)] for each in prompts]

    def lay_out(prompts: Sequence[SuitePrompt], drawn: Drawn, folder: Path) -> None:
        count = max(len(images) for images in drawn.values())
        rows: list[Mapping[str, Any]] = []
        for prompt, names in zip(prompts, files(prompts, count), strict=True):
            for source, file in zip(drawn[prompt.name], names, strict=True):
                place(source, folder / file)
                rows.append({"file": file, "prompt": prompt.text, **prompt.categories})
        lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
        replace_text(folder / PROMPTS, "".join(lines))

    return files, lay_out


def image_name(prompt: str, number: int, count: int) -> str:
    """00017.png if each prompt has one image; else 00017-2.png."""
    return f"{prompt}.png" if count == 1 else f"{prompt}-{number}.png"
