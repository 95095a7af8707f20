"""The indexes of a search: of words (Lance's full-text index, ranked by BM25), and of single values.

They are files of the table like its columns, but made only when a user asks for it. Rows that came later are found
without them, one by one, until the indexes are brought up to date.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import pyarrow as pa
from lance.commit import CommitConflictError

from commoncanvas.core.errors import CatalogError
from commoncanvas.table.append import CONFLICT_RETRIES
from commoncanvas.table.lance_errors import explaining
from commoncanvas.table.schema import COUNTRY
from commoncanvas.table.snapshot import Snapshot

TEXTS = ("title", "description", "tags", "label", "caption", "creator")
"""Columns that are searched by words, if a catalog has them."""
VALUES = {
    "license": "BITMAP",
    COUNTRY.name: "BITMAP",
    "creator": "BTREE",
    "taken_at": "BTREE",
    "image_id": "BTREE",
}
"""Columns that are searched by their values -> Lance's kind of index."""
WORDS_KIND = "INVERTED"
TOKENS: dict[str, Any] = {
    # Words of all scripts, also of those that put no spaces between them; what "e-mail" and "foo_bar" join is split.
    "base_tokenizer": "icu/split",
    "lower_case": True,
    "ascii_folding": True,
    # English endings. Other languages lose a few letters too, in the index and in what is searched alike.
    "stem": True,
    "remove_stop_words": False,
    "max_token_length": 40,
    "with_position": False,
}
"""How a text is split into words (https://lance.org/guide/tokenizer/). The rows of an index and its queries are."""


@dataclass(frozen=True)
class Index:
    """An index of one column. `kind`: as Lance names it."""

    column: str
    kind: str

    @property
    def name(self) -> str:
        return f"{self.column}_{'words' if self.kind == WORDS_KIND else 'values'}"


@dataclass(frozen=True)
class Made:
    """An index that was made, or brought up to date, with `rows` rows that it did not have before."""

    index: Index
    rows: int
    seconds: float


def indexes_for(schema: pa.Schema) -> tuple[Index, ...]:
    """All indexes of a table with these columns."""
    texts = [Index(name, WORDS_KIND) for name in TEXTS if name in schema.names]
    values = [Index(name, kind) for name, kind in VALUES.items() if name in schema.names]
    return (*texts, *values)


def uncovered_rows(catalog: Snapshot) -> dict[Index, int]:
    """For each index, the number of rows that it doesn't have: all rows, if it was not made."""
    covered = _covered(catalog.dataset)
    rows = {part.fragment_id: part.count_rows() for part in catalog.dataset.get_fragments()}
    return {
        index: sum(count for part, count in rows.items() if part not in covered.get(index.name, ()))
        for index in indexes_for(catalog.schema)
    }


def indexed_texts(catalog: Snapshot) -> tuple[str, ...]:
    """The columns that have an index of words."""
    covered = _covered(catalog.dataset)
    return tuple(
        index.column
        for index in indexes_for(catalog.schema)
        if index.kind == WORDS_KIND and index.name in covered
    )


def update(catalog: Snapshot, on_made: Callable[[Made], object] = lambda _: None) -> list[Made]:
    """Make the indexes that are missing, and add to the others the rows that they don't have.

    Each is one commit: a call after a killed one makes the rest. Other processes may change the table meanwhile.
    Raises CatalogError.
    """
    catalog.must_be_newest("indexed")
    catalog.refresh()
    made = []
    for index in indexes_for(catalog.schema):
        began = time.monotonic()
        rows = _update(catalog, index)
        if rows is not None:
            made.append(Made(index, rows, time.monotonic() - began))
            on_made(made[-1])
    return made


def rebuild(catalog: Snapshot) -> None:
    """Make the indexes that are there again, from the rows that are there.

    To bring an index of words up to date is not enough after a purge: Lance keeps the words of rows that are gone.
    Raises CatalogError.
    """
    existing = _covered(catalog.dataset)
    for index in indexes_for(catalog.schema):
        if index.name in existing:
            _retried(catalog, index, partial(_create, catalog, index))


def others(catalog: Snapshot) -> list[str]:
    """Names of the table's other indexes, such as those of vectors."""
    own = {index.name for index in indexes_for(catalog.schema)}
    return sorted(set(_covered(catalog.dataset)) - own)


def _update(catalog: Snapshot, index: Index) -> int | None:
    """The rows that were added; None if it had all."""
    catalog.refresh()
    missing = uncovered_rows(catalog)[index]
    exists = index.name in _covered(catalog.dataset)
    if exists and not missing:
        return None
    if exists:
        _retried(catalog, index, lambda: catalog.dataset.optimize.optimize_indices(index_names=[index.name]))
    else:
        _retried(catalog, index, partial(_create, catalog, index))
    return missing


def _create(catalog: Snapshot, index: Index) -> None:
    options = TOKENS if index.kind == WORDS_KIND else {}
    catalog.dataset.create_scalar_index(index.column, index.kind, name=index.name, replace=True, **options)


def _retried(catalog: Snapshot, index: Index, change: Callable[[], object]) -> None:
    for _ in range(CONFLICT_RETRIES):
        try:
            with explaining(f"catalog {catalog.uri}: column {index.column} can't be indexed"):
                change()
            catalog.refresh()
            return
        except CommitConflictError:
            catalog.refresh()  # another process changed the table meanwhile
    raise CatalogError(f"catalog {catalog.uri}: other processes keep changing it; wait until they end")


def _covered(dataset: Any) -> dict[str, set[int]]:
    """Name of an index -> the fragments whose rows it has."""
    found: dict[str, set[int]] = {}
    for each in dataset.list_indices():
        found.setdefault(each["name"], set()).update(each["fragment_ids"])
    return found
