"""Whether a model saw an image: by the id of the image, from what the model's folder says of its rows and credits."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from itertools import compress, islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from numpy.typing import NDArray

from commoncanvas.core.errors import ModelError
from commoncanvas.core.text import one_line, text_of_cell
from commoncanvas.provenance.folder import ROWS

CREDITS = ("credits.parquet", "credits.csv")
"""Credits of all images that a model or one of its parts learned from; the first that is there is read."""
CSV_ROWS = 1 << 20
"""Rows of a CSV file whose ids are kept together, as many as a row group of Parquet has."""


@dataclass(frozen=True)
class Seen:
    """What a model folder says of one image.

    `splits`: (the model's name of the catalog, `train`, `heldout` or `unused`) of each row with its id; None if the
    folder has no rows. `credited`: whether the credits have it, which also name what the model's parts learned from;
    None if they say no more than the rows do, or are missing.
    """

    splits: tuple[tuple[str, str], ...] | None
    credited: bool | None


def seen(folder: Path, record: Mapping[str, Any] | None, image_ids: Sequence[str]) -> dict[str, Seen]:
    """What the model in `folder` saw of each of some images. `record`: its provenance.json.

    The first call reads the ids of all rows, about a second for a million; then 8 bytes of each stay in memory, and
    only the row groups that may have an id are read. Raises ModelError if a file can't be read.
    """
    rows = folder / ROWS
    splits = _splits(rows, image_ids) if rows.is_file() else None
    parts = record is None or any(part.get("origin") for part in record.get("built_on", ()))
    credits = next((folder / name for name in CREDITS if (folder / name).is_file()), None)
    credited = None
    if credits is not None and (splits is None or parts):
        credited = set().union(*_groups_with(credits, image_ids).values())
    return {
        one: Seen(
            None if splits is None else tuple(splits.get(one, ())),
            None if credited is None else one in credited,
        )
        for one in image_ids
    }


def _splits(path: Path, image_ids: Sequence[str]) -> dict[str, list[tuple[str, str]]]:
    groups = _groups_with(path, image_ids)
    found: dict[str, list[tuple[str, str]]] = {}
    if not groups:
        return found
    with _reading(path):
        (fragment,) = ds.dataset(path, format="parquet").get_fragments()
        rows = fragment.subset(row_group_ids=list(groups)).to_table(
            columns=["image_id", "catalog", "split"],
            filter=ds.field("image_id").isin(list(set().union(*groups.values()))),
        )
    for row in rows.to_pylist():
        found.setdefault(row["image_id"], []).append((row["catalog"], row["split"]))
    return found


def _groups_with(path: Path, image_ids: Sequence[str]) -> dict[int, set[str]]:
    """Number of a group of rows -> those of the ids that have the 64-bit hash of one of its ids."""
    stat = path.stat()
    wanted = np.fromiter(map(hash, image_ids), np.int64, len(image_ids))
    found: dict[int, set[str]] = {}
    for number, hashes in enumerate(_hashes(path, stat.st_mtime_ns, stat.st_size)):
        if len(hashes):
            there = hashes[np.searchsorted(hashes, wanted).clip(max=len(hashes) - 1)] == wanted
            if there.any():
                found[number] = set(compress(image_ids, there))
    return found


@lru_cache(maxsize=32)
def _hashes(path: Path, changed: int, size: int) -> tuple[NDArray[np.int64], ...]:
    """Sorted hashes of the ids of each group of rows, of a file as it was `changed`."""
    with _reading(path):
        return tuple(map(_sorted_hashes, _ids(path)))


def _sorted_hashes(ids: Iterable[str | None]) -> NDArray[np.int64]:
    return np.sort(np.fromiter(map(hash, ids), np.int64))


def _ids(path: Path) -> Iterator[Iterable[str | None]]:
    if path.suffix == ".parquet":
        with pq.ParquetFile(path) as file:
            for group in range(file.num_row_groups):
                yield file.read_row_group(group, ["image_id"])["image_id"].to_pylist()
        return
    with path.open(encoding="utf-8", newline="") as lines:
        reader = csv.reader(lines)
        place = next(reader, []).index("image_id")
        ids = (text_of_cell(row[place]) for row in reader)
        while some := list(islice(ids, CSV_ROWS)):
            yield some


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, IndexError, KeyError, csv.Error, pa.ArrowException) as error:
        raise ModelError(f"{path} can't be read: {one_line(error)}") from error
