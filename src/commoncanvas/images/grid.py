"""Grids of images with a label under each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

CELL = 144
MARGIN, GAP, LABEL_GAP = 32, 20, 8
INK, PAPER = (28, 30, 33), (255, 255, 255)
FONT_SIZE, LINE_HEIGHT, MAX_LINES = 15, 20, 3


def labelled_grid(
    images: Sequence[Image.Image], labels: Sequence[str], columns: int | None = None
) -> Image.Image:
    """A white sheet of images, each CELL pixels wide, with its label below in at most three lines.

    Default for `columns`: the sheet is about square, with at most eight columns.
    """
    columns = columns or min(8, max(1, math.ceil(math.sqrt(len(images)))))
    font = _font()
    wrapped = [_wrap(label, font, CELL) for label in labels]
    rows = [range(start, min(start + columns, len(images))) for start in range(0, len(images), columns)]
    heights = [CELL + LABEL_GAP + LINE_HEIGHT * max(len(wrapped[index]) for index in row) for row in rows]
    width = 2 * MARGIN + columns * CELL + (columns - 1) * GAP
    sheet = Image.new("RGB", (width, 2 * MARGIN + sum(heights) + GAP * (len(rows) - 1)), PAPER)
    draw = ImageDraw.Draw(sheet)
    top = MARGIN
    for row, height in zip(rows, heights, strict=True):
        for column, index in enumerate(row):
            left = MARGIN + column * (CELL + GAP)
            sheet.paste(
                images[index].convert("RGB").resize((CELL, CELL), Image.Resampling.BICUBIC), (left, top)
            )
            for number, line in enumerate(wrapped[index]):
                y = top + CELL + LABEL_GAP + number * LINE_HEIGHT
                draw.text((left + CELL / 2, y), line, fill=INK, font=font, anchor="ma")
        top += height + GAP
    return sheet


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
