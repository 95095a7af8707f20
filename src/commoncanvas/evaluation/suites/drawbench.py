"""DrawBench (Saharia et al., arXiv 2205.11487): a CSV file with the columns Prompts and Category."""

from __future__ import annotations

import csv
from pathlib import Path

from commoncanvas.core.errors import EvaluationError
from commoncanvas.evaluation.suite_prompt import SuitePrompt
from commoncanvas.evaluation.suites.layout import flat, image_name
from commoncanvas.evaluation.suites.reading import numbered, read_text
from commoncanvas.evaluation.suites.suite import Suite, one_file

COLUMNS = ["Prompts", "Category"]


def read(path: Path) -> list[SuitePrompt]:
    reader = csv.reader(read_text(*one_file(path)).splitlines(keepends=True), strict=True)
    prompts: list[SuitePrompt] = []
    try:
        names = [cell.strip() for cell in next(reader, [])]
        if names[:2] != COLUMNS:
            raise EvaluationError(
                f"prompts file {path}, line 1: the columns must begin with {', '.join(COLUMNS)}; give DrawBench's CSV"
            )
        for cells in reader:
            text, category = [*(cell.strip() for cell in cells), "", ""][:2]
            if not any(cell.strip() for cell in cells):
                continue
            if not text or not category:
                raise EvaluationError(
                    f"prompts file {path}, line {reader.line_num}: no Prompts or no Category"
                )
            prompts.append(SuitePrompt(numbered(len(prompts)), text, {"category": category}))
    except csv.Error as error:
        raise EvaluationError(f"prompts file {path}, line {reader.line_num}: {error}") from error
    return prompts


SUITE = Suite("drawbench", 1, read, *flat(image_name), one_file)
