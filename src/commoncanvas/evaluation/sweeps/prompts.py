"""The prompts of a sweep: read from a benchmark's own file, from any list, or from rows that models did not see."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.compute as pc

from commoncanvas.core.errors import EvaluationError, RecipeError
from commoncanvas.core.files import replace_text
from commoncanvas.core.text import one_line
from commoncanvas.drawing.requests import DELIMITERS, read_prompts
from commoncanvas.evaluation.folder import diffusion_provenance
from commoncanvas.evaluation.prompts import Prompt, choose_prompts
from commoncanvas.evaluation.suite_prompt import SuitePrompt
from commoncanvas.evaluation.suites.reading import read_text
from commoncanvas.evaluation.suites.suite import SUITES, load_suite
from commoncanvas.provenance.folder import read_rows, trained_catalogs, without_taken_down

HELDOUT = "heldout"
PROMPTS = "prompts.jsonl"


class Wanted(NamedTuple):
    """One image to draw."""

    prompt: SuitePrompt
    seed: int

    @property
    def text(self) -> str:
        return self.prompt.text


def read_source(source: str) -> list[SuitePrompt]:
    """The prompts in a file: `coco:FILE`, `parti:FILE` or another suite's, or a text, CSV or TSV file.

    Raises EvaluationError that names the file and what is wrong in it.
    """
    kind, _, name = source.partition(":")
    try:
        if kind == "coco" and name:
            found = list(_coco(Path(name)))
        elif kind in SUITES and name:
            found = load_suite(kind).prompts(Path(name))
        else:
            found = list(_lines(Path(source)))
    except RecipeError as error:
        raise EvaluationError(f"prompts: {error}") from error
    if not found:
        raise EvaluationError(f"{source} has no prompts; give a file with at least one")
    return found


def wanted(source: str, samples: int | None, seed: int) -> list[Wanted]:
    """`samples` images of the prompts in `source`, in an order that a hash of (seed, id) decides: a larger number keeps
    the images of a smaller one. Default: one image a prompt. Raises EvaluationError.
    """
    found = sorted(read_source(source), key=lambda each: _draw(seed, each.name, 0))
    return repeated(found, samples, seed, source)


def repeated(prompts: Sequence[SuitePrompt], samples: int | None, seed: int, source: str) -> list[Wanted]:
    """The first `samples` prompts, or each prompt several times from other seeds. Raises EvaluationError."""
    count = len(prompts) if samples is None else samples
    if count < 1:
        raise EvaluationError(f"samples {count}: give at least 1")
    times = max(1, count // len(prompts))
    if count > len(prompts) and count % len(prompts):
        raise EvaluationError(
            f"samples {count:,}: {source} has {len(prompts):,} prompts; give at most so many, or a multiple of them"
        )
    return [
        Wanted(each, int.from_bytes(_draw(seed, each.name, number)[:4], "big"))
        for number in range(times)
        for each in prompts[:count]
    ]


def heldout(
    models: Sequence[str], catalog: Sequence[str], samples: int | None, seed: int
) -> tuple[list[Wanted], list[Prompt]]:
    """Texts that no model was trained on, with the rows that they are from. Raises ModelError, EvaluationError.

    The rows are held out by the first model. A row is left out if another model has trained on it.
    """
    first = models[0]
    rows = without_taken_down(read_rows(first), trained_catalogs(first, diffusion_provenance(first), catalog))
    chosen = choose_prompts(rows, HELDOUT, len(rows), seed)
    for other in models[1:]:
        seen = read_rows(other)
        trained = set(seen.filter(pc.equal(seen["split"], "train"))["image_id"].to_pylist())
        chosen = [each for each in chosen if each.image_id not in trained]
    if not chosen:
        raise EvaluationError(
            f"{first} has no held-out row with a text that no other model saw; "
            "give prompts and a reference, such as --prompts prompts.txt --reference FOLDER"
        )
    chosen = chosen[:samples]
    if samples is not None and samples > len(chosen):
        raise EvaluationError(f"samples {samples:,}: only {len(chosen):,} held-out prompts are there")
    return [Wanted(SuitePrompt(each.image_id, each.text), each.seed) for each in chosen], chosen


def record(prompts: Sequence[Wanted], folder: Path) -> None:
    """Write the prompts into the sweep's folder. Raises EvaluationError if it holds a sweep of others.

    A sweep may grow: the prompts that were there before are the first of the new ones, or the other way round.
    """
    path = folder / PROMPTS
    lines = [
        json.dumps({"id": each.prompt.name, "text": each.text, "seed": each.seed}, ensure_ascii=False)
        for each in prompts
    ]
    if path.exists():
        before = path.read_text(encoding="utf-8").split("\n")[:-1]
        shared = min(len(before), len(lines))
        if before[:shared] != lines[:shared]:
            raise EvaluationError(
                f"{path} names other prompts or seeds than this sweep; choose another --out, or remove that folder"
            )
        if len(before) > len(lines):
            return
    folder.mkdir(parents=True, exist_ok=True)
    replace_text(path, "".join(f"{line}\n" for line in lines))


def _coco(path: Path) -> Iterator[SuitePrompt]:
    """COCO's captions: the first caption of each image, so that no image is asked for twice."""
    found: dict[int, tuple[int, str]] = {}
    try:
        for each in json.loads(read_text(path))["annotations"]:
            number, caption = int(each["image_id"]), (int(each["id"]), str(each["caption"]))
            found[number] = min(found.get(number, caption), caption)
    except (ValueError, KeyError, TypeError) as error:
        raise EvaluationError(
            f"{path} is not COCO's file of captions ({type(error).__name__}: {one_line(error)}); "
            "give one such as captions_val2014.json"
        ) from error
    for number, (_, text) in found.items():
        if text.strip():
            yield SuitePrompt(str(number), " ".join(text.split()))


def _lines(path: Path) -> Iterator[SuitePrompt]:
    """A text file, or a CSV or TSV file with a column `prompt`. A prompt's settings must not be in the file."""
    rows: list[dict[str, Any]] = read_prompts(path)
    for number, row in enumerate(rows):
        if more := set(row) - {"prompt"}:
            raise EvaluationError(
                f"{path}, prompt {number + 1}: {', '.join(sorted(more))} is set; the sweep sets it, so leave "
                f"the column out{'' if path.suffix in DELIMITERS else ' of the file'}"
            )
        yield SuitePrompt(f"{number:06}", row["prompt"])


def _draw(seed: int, name: str, number: int) -> bytes:
    return hashlib.sha256(f"prompt:{seed}:{name}:{number}".encode()).digest()
