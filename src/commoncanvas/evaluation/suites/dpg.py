"""DPG-Bench (Hu et al., arXiv 2403.05135): a folder of prompts, one .txt each, and `dpg_bench.csv` with questions.

Folder form: NAME.png for each NAME.txt, a sheet of its images, 2 x 2, which its `compute_dpg_bench.py` cuts again.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from commoncanvas.core.errors import EvaluationError
from commoncanvas.evaluation.suite_prompt import Question, SuitePrompt
from commoncanvas.evaluation.suites.layout import place
from commoncanvas.evaluation.suites.reading import read_text
from commoncanvas.evaluation.suites.suite import Drawn, Suite

TABLE = "dpg_bench.csv"
NEEDED = ("item_id", "proposition_id", "dependency", "tuple", "question_natural_language")
SIDE = 2
"""Images in a row of a sheet."""


def _folder(path: Path) -> Path:
    root = path if path.is_dir() else path.parent
    return root / "prompts" if (root / "prompts").is_dir() else root


def _table(path: Path) -> Path | None:
    folder = _folder(path)
    places = (path, folder / TABLE, folder.parent / TABLE)
    return next((each for each in places if each.suffix == ".csv" and each.is_file()), None)


def sources(path: Path) -> list[Path]:
    table = _table(path)
    return [*sorted(_folder(path).glob("*.txt")), *([table] if table else [])]


def read(path: Path) -> list[SuitePrompt]:
    """Prompts in the order of their names. Without the table they have no questions."""
    texts = {file.stem: read_text(file).strip() for file in sorted(_folder(path).glob("*.txt"))}
    empty = next((name for name, text in texts.items() if not text), None)
    if empty is not None:
        raise EvaluationError(f"prompts file {_folder(path) / f'{empty}.txt'} is empty")
    table = _table(path)
    rows = _rows(table) if table else {}
    return [
        SuitePrompt(name, text, questions=_questions(rows.get(name, []), table))
        for name, text in texts.items()
    ]


def _rows(table: Path) -> dict[str, list[tuple[int, dict[str, str]]]]:
    """(line, row) of each proposition, by item."""
    csv.field_size_limit(min(sys.maxsize, 1 << 24))
    reader = csv.DictReader(read_text(table).splitlines(keepends=True), strict=True)
    found: dict[str, list[tuple[int, dict[str, str]]]] = {}
    try:
        if missing := [name for name in NEEDED if name not in (reader.fieldnames or ())]:
            raise EvaluationError(f"{table}, line 1: no column {missing[0]}; give DPG-Bench's {TABLE}")
        for row in reader:
            if any(row.get(name) is None for name in NEEDED):
                raise EvaluationError(f"{table}, line {reader.line_num}: too few cells")
            if row["item_id"].strip():
                found.setdefault(row["item_id"].strip(), []).append((reader.line_num, row))
    except csv.Error as error:
        raise EvaluationError(f"{table}, line {reader.line_num}: {error}") from error
    return found


def _questions(rows: Sequence[tuple[int, dict[str, str]]], table: Path | None) -> tuple[Question, ...]:
    """A parent that the table lacks can't be answered with no, so it is left out."""
    numbers = [_numbers(row["proposition_id"], line, table)[0] for line, row in rows]
    places = {number: place for place, number in enumerate(numbers)}
    found = []
    for line, row in rows:
        parents = _numbers(row["dependency"], line, table)
        detail = row["tuple"].partition("(")[0].strip()
        kinds = {"question": detail.partition("-")[0].strip(), "question in detail": detail}
        found.append(
            Question(
                row["question_natural_language"].strip(),
                categories=kinds,
                parents=tuple(places[each] for each in parents if each in places),
            )
        )
    return tuple(found)


def _numbers(cell: str, line: int, table: Path | None) -> list[int]:
    try:
        return [int(float(each)) for each in cell.split(",")]
    except ValueError as error:
        raise EvaluationError(
            f"{table}, line {line}: proposition_id and dependency must be numbers, not {cell!r}"
        ) from error


def files(prompts: Sequence[SuitePrompt], count: int) -> list[list[str]]:
    return [[f"{each.name}.png"] * count for each in prompts]


def lay_out(prompts: Sequence[SuitePrompt], drawn: Drawn, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for prompt in prompts:
        _sheet(drawn[prompt.name], folder / f"{prompt.name}.png")


def _sheet(images: Sequence[Path], target: Path) -> None:
    if len(images) == 1:
        place(images[0], target)
        return
    opened = [Image.open(image).convert("RGB") for image in images]
    side = opened[0].width
    if any(image.size != (side, side) for image in opened):
        raise EvaluationError("dpg: its scorer cuts sheets of square images; give the same height and width")
    sheet = Image.new("RGB", (SIDE * side, SIDE * side))
    for number, image in enumerate(opened):
        sheet.paste(image, (number % SIDE * side, number // SIDE * side))
    partial = target.with_name(f".{target.stem}.part")
    sheet.save(partial, "PNG")
    partial.replace(target)


SUITE = Suite(
    "dpg",
    4,
    read,
    files,
    lay_out,
    sources,
    most_images=SIDE * SIDE,
    scored="accelerate launch dpg_bench/compute_dpg_bench.py --image-root-path FOLDER --resolution SIDE --pic-num 4 "
    "--vqa-model mplug",
)
