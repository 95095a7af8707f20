"""Whether a model saw an image: by the id of the image, from what the model's folder says of its rows and credits."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from commoncanvas.core.errors import ModelError
from commoncanvas.core.text import one_line, text_of_cell
from commoncanvas.provenance.folder import ROWS

CREDITS = ("credits.parquet", "credits.csv")
"""Credits of all images that a model or one of its parts learned from; the first that is there is read."""
CSV_ROWS = 1 << 20
"""Rows of a CSV file whose ids are kept together, as many as a row group of Parquet has."""
Place = tuple[str, str]
"""The model's name of a catalog, and the split: `train`, `heldout` or `unused`."""


@dataclass(frozen=True)
class Seen:
    """What a model folder says of one image.

    `splits`: the place of each row with its id; None if the folder has no rows. `credited`: whether the credits have
    it, which also name what the model's parts learned from; None if they say no more than the rows do, or are missing.
    """

    splits: tuple[Place, ...] | None
    credited: bool | None


def seen(folder: Path, record: Mapping[str, Any] | None, image_ids: Sequence[str]) -> dict[str, Seen]:
    """What the model in `folder` saw of each of some images. `record`: its provenance.json.

    The first call reads the ids of all rows, about a second for a million; then 9 bytes of each stay in memory. Ids are
    compared by 64-bit hashes: among 100 million rows, one of 10^11 other ids is taken for one of them. Raises
    ModelError if a file can't be read.
    """
    rows = folder / ROWS
    parts = record is None or any(part.get("origin") for part in record.get("built_on", ()))
    credits = next((folder / name for name in CREDITS if (folder / name).is_file()), None)
    groups = _groups(rows, True) if rows.is_file() else None
    credited = None if credits is None or (groups is not None and not parts) else _groups(credits, False)
    return {
        one: Seen(
            None if groups is None else tuple(place for group in groups for place in group.places(one)),
            None if credited is None else any(group.has(one) for group in credited),
        )
        for one in image_ids
    }


@dataclass(frozen=True)
class _Group:
    """Ids of a group of rows: their hashes in order, and the number of each one's place in `names`."""

    hashes: NDArray[np.int64]
    numbers: NDArray[np.uint8]
    names: tuple[Place, ...]

    def has(self, image_id: str) -> bool:
        first, last = self._range(image_id)
        return first < last

    def places(self, image_id: str) -> list[Place]:
        first, last = self._range(image_id)
        return [self.names[number] for number in self.numbers[first:last]]

    def _range(self, image_id: str) -> tuple[int, int]:
        wanted = hash(image_id)
        return int(np.searchsorted(self.hashes, wanted)), int(np.searchsorted(self.hashes, wanted, "right"))


def _groups(path: Path, placed: bool) -> tuple[_Group, ...]:
    try:
        stat = path.stat()
        return _read(path, placed, stat.st_mtime_ns, stat.st_size)
    except (OSError, ValueError, IndexError, KeyError, csv.Error, pa.ArrowException) as error:
        raise ModelError(f"{path} can't be read: {one_line(error)}") from error


@lru_cache(maxsize=32)
def _read(path: Path, placed: bool, changed: int, size: int) -> tuple[_Group, ...]:
    """The groups of a file as it was `changed`; with places if it has them."""
    if path.suffix != ".parquet":
        return tuple(_group(ids) for ids in _ids_of_csv(path))
    columns = ["image_id", *(("catalog", "split") if placed else ())]
    with pq.ParquetFile(path) as file:
        tables = (file.read_row_group(number, columns) for number in range(file.num_row_groups))
        return tuple(_group(table["image_id"].to_pylist(), table if placed else None) for table in tables)


def _group(ids: Sequence[str | None], table: pa.Table | None = None) -> _Group:
    hashes = np.fromiter(map(hash, ids), np.int64, len(ids))
    if table is None:
        return _Group(np.sort(hashes), np.empty(0, np.uint8), ())
    order = np.argsort(hashes, kind="stable")
    both = pc.binary_join_element_wise(table["catalog"], table["split"], "\n")
    found = both.combine_chunks().dictionary_encode()
    names = tuple(tuple(name.rsplit("\n", 1)) for name in found.dictionary.to_pylist())
    return _Group(hashes[order], found.indices.to_numpy()[order].astype(np.uint8), names)


def _ids_of_csv(path: Path) -> Iterator[list[str | None]]:
    with path.open(encoding="utf-8", newline="") as lines:
        reader = csv.reader(lines)
        place = next(reader, []).index("image_id")
        ids = (text_of_cell(row[place]) for row in reader)
        while some := list(islice(ids, CSV_ROWS)):
            yield some
