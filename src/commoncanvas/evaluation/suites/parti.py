"""PartiPrompts (Yu et al., arXiv 2206.10789): `PartiPrompts.tsv`, with a category and a challenge for each prompt."""

from __future__ import annotations

from pathlib import Path

from commoncanvas.core.errors import EvaluationError
from commoncanvas.evaluation.suite_prompt import SuitePrompt
from commoncanvas.evaluation.suites.layout import flat, image_name
from commoncanvas.evaluation.suites.reading import numbered, read_text
from commoncanvas.evaluation.suites.suite import Suite, one_file

COLUMNS = ["Prompt", "Category", "Challenge"]


def read(path: Path) -> list[SuitePrompt]:
    """Cells are not quoted: a prompt may begin with a quotation mark of its own."""
    lines = read_text(*one_file(path)).splitlines()
    if not lines or [cell.strip() for cell in lines[0].split("\t")][:3] != COLUMNS:
        raise EvaluationError(
            f"prompts file {path}, line 1: the columns must begin with {', '.join(COLUMNS)}, separated by tabs; give "
            "PartiPrompts.tsv"
        )
    prompts: list[SuitePrompt] = []
    for number, line in enumerate(lines[1:], 2):
        cells = [cell.strip() for cell in line.split("\t")]
        if not any(cells):
            continue
        if len(cells) < len(COLUMNS) or not all(cells[:3]):
            raise EvaluationError(f"prompts file {path}, line {number}: no {' or no '.join(COLUMNS)}")
        text, category, challenge = cells[:3]
        categories = {"category": category, "challenge": challenge}
        prompts.append(SuitePrompt(numbered(len(prompts)), text, categories))
    return prompts


SUITE = Suite("parti", 1, read, *flat(image_name), one_file)
