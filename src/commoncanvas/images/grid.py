"""Grids of images with a label under each."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from PIL import Image, ImageDraw, ImageFont, PngImagePlugin

from commoncanvas.core.files import replace_bytes

CELL = 144
MARGIN, GAP, LABEL_GAP = 32, 20, 8
INK, PAPER = (28, 30, 33), (255, 255, 255)
FONT_SIZE, LINE_HEIGHT, MAX_LINES = 15, 20, 3
CELLS = "cells"
"""The text in a PNG file that says where its cells are."""
MOST_CELLS = 1000


class Cell(NamedTuple):
    """One image of a sheet: its place in pixels, and the whole label."""

    left: int
    top: int
    label: str


def labelled_grid(
    images: Sequence[Image.Image], labels: Sequence[str], columns: int | None = None
) -> Image.Image:
    """A white sheet of images, each CELL pixels wide, with its label below in at most three lines.

    Default for `columns`: the sheet is about square, with at most eight columns.
    """
    return _sheet(images, labels, columns)[0]


def save_grid(images: Sequence[Image.Image], labels: Sequence[str], path: Path) -> None:
    """Write `labelled_grid` as a PNG file, atomically. The file says where its images are, for `cells_of`."""
    sheet, cells = _sheet(images, labels, None)
    notes = PngImagePlugin.PngInfo()
    notes.add_itxt(CELLS, json.dumps(cells))
    content = io.BytesIO()
    sheet.save(content, "PNG", pnginfo=notes)
    replace_bytes(path, content.getvalue())


def cells_of(sheet: Image.Image) -> list[Cell]:
    """The images of a sheet that `save_grid` wrote; none of another picture."""
    try:
        found = json.loads(sheet.info.get(CELLS, "[]"))
        cells = [Cell(int(left), int(top), str(label)) for left, top, label in found[:MOST_CELLS]]
    except (ValueError, TypeError, KeyError, RecursionError):
        return []
    inside = (0 <= each.left <= sheet.width - CELL and 0 <= each.top <= sheet.height - CELL for each in cells)
    return cells if all(inside) else []


def _sheet(
    images: Sequence[Image.Image], labels: Sequence[str], columns: int | None
) -> tuple[Image.Image, list[Cell]]:
    columns = columns or min(8, max(1, math.ceil(math.sqrt(len(images)))))
    font = _font()
    wrapped = [_wrap(label, font, CELL) for label in labels]
    rows = [range(start, min(start + columns, len(images))) for start in range(0, len(images), columns)]
    heights = [CELL + LABEL_GAP + LINE_HEIGHT * max(len(wrapped[index]) for index in row) for row in rows]
    width = 2 * MARGIN + columns * CELL + (columns - 1) * GAP
    sheet = Image.new("RGB", (width, 2 * MARGIN + sum(heights) + GAP * (len(rows) - 1)), PAPER)
    draw = ImageDraw.Draw(sheet)
    cells, top = [], MARGIN
    for row, height in zip(rows, heights, strict=True):
        for column, index in enumerate(row):
            left = MARGIN + column * (CELL + GAP)
            cells.append(Cell(left, top, labels[index]))
            sheet.paste(
                images[index].convert("RGB").resize((CELL, CELL), Image.Resampling.BICUBIC), (left, top)
            )
            for number, line in enumerate(wrapped[index]):
                y = top + CELL + LABEL_GAP + number * LINE_HEIGHT
                draw.text((left + CELL / 2, y), line, fill=INK, font=font, anchor="ma")
        top += height + GAP
    return sheet, cells


def _font() -> ImageFont.FreeTypeFont:
    import matplotlib

    # matplotlib contains DejaVu Sans, with Latin, Greek, Cyrillic and Arabic letters. Pillow's font has fewer.
    return ImageFont.truetype(
        str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"), FONT_SIZE
    )


def _wrap(text: str, font: ImageFont.FreeTypeFont, width: int) -> list[str]:
    """`text` in at most MAX_LINES lines of `width` pixels. Longer text is cut and ends in an ellipsis."""
    lines: list[str] = [""]
    for word in text.split():
        joined = f"{lines[-1]} {word}".strip()
        if font.getlength(joined) <= width or not lines[-1]:
            lines[-1] = joined
        else:
            lines.append(word)
    cut = len(lines) > MAX_LINES
    kept = lines[:MAX_LINES]
    for number, line in enumerate(kept):
        ends = cut and number == MAX_LINES - 1
        while line and font.getlength(line + ("…" if ends else "")) > width:
            line, ends = line[:-1].rstrip(), True
        kept[number] = line + ("…" if ends else "")
    return kept
