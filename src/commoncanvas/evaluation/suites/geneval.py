"""GenEval (Ghosh et al., arXiv 2310.11513): `evaluation_metadata.jsonl`, whose lines say which objects must be seen.

Folder form: 00017/metadata.jsonl and 00017/samples/0000.png, which its `evaluate_images.py` reads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from commoncanvas.core.errors import EvaluationError
from commoncanvas.evaluation.suite_prompt import SuitePrompt
from commoncanvas.evaluation.suites.layout import place, write_json
from commoncanvas.evaluation.suites.reading import json_lines, numbered, text_of
from commoncanvas.evaluation.suites.suite import Drawn, Suite, one_file

POSITIONS = ("left of", "right of", "above", "below")


def read(path: Path) -> list[SuitePrompt]:
    prompts: list[SuitePrompt] = []
    for place_, record in json_lines(*one_file(path)):
        for clause in ("include", "exclude"):
            for number, each in enumerate(record.get(clause, [])):
                _check(each, number, f"{place_}: {clause} {number + 1}")
        if not record.get("include"):
            raise EvaluationError(f"{place_}: no 'include'; give GenEval's evaluation_metadata.jsonl")
        text = text_of(record, "prompt", place_)
        tag = text_of(record, "tag", place_)
        prompts.append(SuitePrompt(numbered(len(prompts)), text, {"task": tag}, record=record))
    return prompts


def _check(clause: Any, number: int, place_: str) -> None:
    """Raise EvaluationError unless `clause` has a class and a count, and a position that can be checked."""
    if not isinstance(clause, Mapping) or not isinstance(clause.get("class"), str):
        raise EvaluationError(f"{place_}: no class")
    if not isinstance(clause.get("count"), int) or clause["count"] < 1:
        raise EvaluationError(f"{place_}: count must be a whole number above 0")
    position = clause.get("position")
    if position is not None:
        good = isinstance(position, list) and len(position) == 2 and position[0] in POSITIONS
        if not good or not isinstance(position[1], int) or not 0 <= position[1] < number:
            raise EvaluationError(
                f"{place_}: position must be one of {', '.join(POSITIONS)} and the number of an earlier object"
            )


def files(prompts: Sequence[SuitePrompt], count: int) -> list[list[str]]:
    return [[f"{each.name}/samples/{number:04}.png" for number in range(count)] for each in prompts]


def lay_out(prompts: Sequence[SuitePrompt], drawn: Drawn, folder: Path) -> None:
    for prompt in prompts:
        images = drawn[prompt.name]
        write_json(folder / prompt.name / "metadata.jsonl", prompt.record)
        for source, file in zip(images, files([prompt], len(images))[0], strict=True):
            place(source, folder / file)


SUITE = Suite(
    "geneval",
    4,
    read,
    files,
    lay_out,
    one_file,
    scored="python evaluation/evaluate_images.py FOLDER --outfile results.jsonl --model-path MASK2FORMER",
)
