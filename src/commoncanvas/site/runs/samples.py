"""The images that a training draws again and again from the same prompts."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from commoncanvas.images.grid import CELL, Cell, cells_of

NAME = re.compile(r"step-(\d{1,15})\.png")
MOST_BYTES = 50_000_000
BROKEN = (OSError, ValueError, SyntaxError, Image.DecompressionBombError)
"""What Pillow raises for a file that is no picture, or only a part of one."""


@dataclass(frozen=True)
class Sheet:
    """All images of one step. `changed`: when it was written, for addresses that browsers may remember."""

    step: int
    path: Path
    changed: int

    def cells(self) -> list[Cell] | None:
        """Its images with their prompts; none if the file does not say. None if it is no picture, or not yet."""
        try:
            with Image.open(self.path, formats=["PNG"]) as picture:
                return cells_of(picture)
        except BROKEN:
            return None

    def content(self, cell: int | None = None) -> bytes | None:
        """The sheet as a PNG file, or one image of it; None if it is not there, or broken."""
        try:
            with self.path.open("rb") as file:
                data = file.read(MOST_BYTES)
            with Image.open(io.BytesIO(data), formats=["PNG"]) as picture:
                if cell is None:
                    picture.verify()
                    return data
                left, top, _ = cells_of(picture)[cell]
                made = io.BytesIO()
                picture.crop((left, top, left + CELL, top + CELL)).save(made, "PNG")
        except (*BROKEN, IndexError):
            return None
        return made.getvalue()


def sheets_of(folder: Path) -> list[Sheet]:
    """The sheets of a run by step."""
    found: dict[int, Sheet] = {}
    try:
        for path in (folder / "samples").iterdir():
            name = NAME.fullmatch(path.name)
            if name and path.is_file():
                step = int(name[1])
                found[step] = Sheet(step, path, path.stat().st_mtime_ns)
    except OSError:
        pass
    return [found[step] for step in sorted(found)]
