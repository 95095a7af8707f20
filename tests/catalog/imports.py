"""A source's rows into a real table, with the columns that it brings, and small images of many kinds."""

from __future__ import annotations

import io
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from commoncanvas.catalog import Catalog
from commoncanvas.catalog.importing.sources import Report, SourceOptions, make_source


def options(path: Path | None = None, paths: tuple[Path, ...] = (), **said: Any) -> SourceOptions:
    return SourceOptions(paths=paths or ((path,) if path else ()), **said)


def imported(source: str, uri: Path, **said: Any) -> tuple[dict[str, dict[str, Any]], Report]:
    """image_id -> row as it stands in the table, without nulls; and what the source had to say."""
    made, report = make_source(source, options(**said)), Report()
    catalog = Catalog.open_or_create(uri)
    catalog.add_columns(made.columns)
    batches = list(made.batches(report))
    assert catalog.add(batches) == (sum(map(len, batches)), 0)
    rows = catalog.table(catalog.schema.names).to_pylist()
    return {r["image_id"]: {k: v for k, v in r.items() if v is not None} for r in rows}, report


def picture(width: int = 24, height: int = 16, format: str = "JPEG", seed: int = 0, **save: Any) -> bytes:
    values = np.random.default_rng(seed).integers(0, 255, (4, 6, 3), np.uint8)
    image = Image.fromarray(values).resize((width, height), Image.Resampling.BICUBIC)
    file = io.BytesIO()
    image.save(file, format, **save)
    return file.getvalue()


def picture_with_place() -> bytes:
    """A JPEG whose EXIF holds coordinates, and says that it lies on its side."""
    exif = Image.Exif()
    exif[0x0112] = 6
    exif.get_ifd(0x8825)[1] = "N"
    exif.get_ifd(0x8825)[2] = (52.0, 30.0, 0.0)
    return picture(exif=exif)


class InProcess:
    """In place of the decoders' processes, for tests of something else: starting them takes longer than the rest."""

    def __init__(self, task: Any, processes: int) -> None:
        self.task = task

    def __call__(self, data: bytes, formats: Any, **said: Any) -> Any:
        return self.task(data, formats, nullcontext(), **said)

    def close(self) -> None:
        pass
