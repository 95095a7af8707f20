"""A page of a model's credits, found by words: from credits.parquet, or credits.csv if there is no other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import islice
from operator import and_, or_
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from commoncanvas.catalog.credits import FIELDS, Credit, read_credits
from commoncanvas.core.errors import ModelError
from commoncanvas.core.text import one_line
from commoncanvas.provenance.seen import CREDITS

PAGE = 50
SEARCHED = ("title", "creator", "image_id", "license_name")


@dataclass(frozen=True)
class CreditsPage:
    """Some credits. `more`: whether a next page has any. `total`: of all credits, None if they were not counted."""

    credits: tuple[Credit, ...]
    more: bool
    total: int | None


def has_credits(folder: Path) -> bool:
    return any((folder / name).is_file() for name in CREDITS)


def credits_page(folder: Path, words: Sequence[str], page: int) -> CreditsPage:
    """Page `page`, from 1, of the credits that have all words in title, creator, id or licence, in the file's order.

    Raises ModelError if the file can't be read, CatalogError if a CSV file can't.
    """
    start = (page - 1) * PAGE
    parquet = folder / CREDITS[0]
    if not parquet.is_file():
        return _cut(_in_csv(folder / CREDITS[1], words), start, None)
    try:
        total = pq.read_metadata(parquet).num_rows
        if not words:
            return CreditsPage(tuple(_slice(parquet, start)), start + PAGE < total, total)
        return _cut(_in_parquet(parquet, words), start, total)
    except (OSError, pa.ArrowException) as error:
        raise ModelError(f"{parquet.name} can't be read: {one_line(error)}") from error


def _cut(found: Iterator[Credit], start: int, total: int | None) -> CreditsPage:
    some = tuple(islice(found, start, start + PAGE + 1))
    return CreditsPage(some[:PAGE], len(some) > PAGE, total)


def _slice(path: Path, start: int) -> Iterator[Credit]:
    """Rows by place: only the row groups that have them are read."""
    with pq.ParquetFile(path) as file:
        before = 0
        for group in range(file.num_row_groups):
            rows = file.metadata.row_group(group).num_rows
            first, last = max(start, before), min(start + PAGE, before + rows)
            if first < last:
                some = file.read_row_group(group, list(FIELDS)).slice(first - before, last - first)
                yield from map(_credit, some.to_pylist())
            before += rows


def _in_parquet(path: Path, words: Sequence[str]) -> Iterator[Credit]:
    has = [
        reduce(or_, (pc.match_substring(ds.field(name), word, ignore_case=True) for name in SEARCHED))
        for word in words
    ]
    found = ds.dataset(path, format="parquet")
    for batch in found.to_batches(
        columns=list(FIELDS), filter=reduce(and_, has), batch_readahead=1, fragment_readahead=1
    ):
        yield from map(_credit, batch.to_pylist())


def _in_csv(path: Path, words: Sequence[str]) -> Iterator[Credit]:
    wanted = [word.casefold() for word in words]
    for each in read_credits(path):
        texts = [(getattr(each, name) or "").casefold() for name in SEARCHED]
        if all(any(word in text for text in texts) for word in wanted):
            yield each


def _credit(row: dict[str, Any]) -> Credit:
    return Credit(**row)
