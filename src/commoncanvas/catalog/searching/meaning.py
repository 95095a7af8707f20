"""Rows whose texts mean what somebody looks for, in whatever words: by the distance of sentence embeddings."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from commoncanvas.core.errors import CatalogError
from commoncanvas.core.text import clean
from commoncanvas.table.backfill import run_shown
from commoncanvas.table.columns import ColumnInfo, same_column
from commoncanvas.table.nearest import nearest_rows, update_index
from commoncanvas.table.rows import RowIds
from commoncanvas.table.snapshot import Snapshot

TEXTS = ("title", "label", "caption", "tags")
"""Columns whose texts are embedded, joined in this order, if a catalog has them."""
NEAREST = 1000
"""Rows that a search by meaning finds at most. Every text is at some distance to every other."""
MOST_LETTERS = 4000
"""Of a row's texts. The encoder reads 512 tokens."""
ROWS_AT_ONCE = 1024
INDEXED_FROM = 2_000_000
"""Rows with a vector from which there is an index. To compare fewer is exact, and takes less than a second or two if
their vectors (768 bytes each) are in the memory that the system keeps files in.
"""


class SentenceEncoder(Protocol):
    """What embeds texts. `name`: for the column, `meaning_<name>`. Thread-safe."""

    name: str
    width: int

    def sha256(self) -> str:
        """Of its weights."""

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """[N, width], of unit length."""


def meaning_field(encoder: SentenceEncoder) -> pa.Field:
    """The column of an encoder's vectors: what made them is in its metadata."""
    sources = tuple((name, None) for name in TEXTS)
    return ColumnInfo(encoder.sha256(), sources, (encoder.width,), encoder.name).field(column_of(encoder))


def column_of(encoder: SentenceEncoder) -> str:
    return f"meaning_{encoder.name}"


class Meanings:
    """The stage that embeds the texts of rows -> fp16 [D]; null for a row without text.

    When a later stage writes one of the texts again, the row's vector becomes null, and is made again.
    """

    name = "meanings"
    batch_size = ROWS_AT_ONCE
    leaves_null = True

    def __init__(self, encoder: SentenceEncoder, reads: Sequence[str]) -> None:
        self.encoder = encoder
        self.reads = tuple(reads)
        self.writes = (meaning_field(encoder),)
        self.done_column = self.writes[0].name
        texts = " OR ".join(f"{name} IS NOT NULL" for name in reads)
        self.todo = f"{self.done_column} IS NULL AND ({texts})"

    def setup(self) -> None:
        """The encoder loads itself."""

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        texts = [text_of(row) for row in batch.to_pylist()]
        # Texts of one length share a batch of the encoder, which pads each to the longest.
        places = sorted(
            (place for place, text in enumerate(texts) if text), key=lambda each: len(texts[each])
        )
        vectors: list[Any] = [None] * len(texts)
        found = self.encoder.embed([texts[place] for place in places]).astype(np.float16)
        for place, vector in zip(places, found, strict=True):
            vectors[place] = vector
        return pa.RecordBatch.from_arrays([pa.array(vectors, self.writes[0].type)], names=[self.done_column])


def text_of(row: dict[str, Any]) -> str:
    """The texts of a row, each once; empty if there are none."""
    given: list[str | None] = []
    for name in TEXTS:
        value = row.get(name)
        given += value if isinstance(value, list) else [value]
    texts = (clean(text[:MOST_LETTERS]) for text in given if text)
    return ", ".join(dict.fromkeys(text for text in texts if text))[:MOST_LETTERS]


def add_meanings(catalog: Snapshot, encoder: SentenceEncoder, indexed_from: int = INDEXED_FROM) -> int:
    """Embed the rows that have no vector yet; returns their number. From `indexed_from` rows on, there is an index too.

    Finished rows are kept: a call after a killed one does the rest. Raises CatalogError.
    """
    rows = run_shown(catalog, Meanings(encoder, [name for name in TEXTS if name in catalog.schema.names]))
    catalog.refresh()
    column = column_of(encoder)
    if catalog.count(f"{column} IS NOT NULL") >= indexed_from:
        update_index(catalog, column)
    return rows


def check_meanings(catalog: Snapshot, encoder: SentenceEncoder) -> None:
    """Raise CatalogError if a catalog can't be searched by an encoder's vectors."""
    name = column_of(encoder)
    remedy = f"commoncanvas catalog index --catalog {shlex.quote(catalog.uri)} --meaning"
    if name not in catalog.schema.names:
        raise CatalogError(f"catalog {catalog.uri} can't be searched by meaning yet; first run: {remedy}")
    if not same_column(catalog.schema.field(name), meaning_field(encoder)):
        raise CatalogError(
            f"column {name} of {catalog.uri} was made by other weights than those of {encoder.name} here; install the "
            f"same package as there, or drop the column and run: {remedy}"
        )


def near_meaning(catalog: Snapshot, encoder: SentenceEncoder, text: str, where: str | None) -> RowIds:
    """The NEAREST rows that meet `where` (SQL), nearest first; fewer if fewer have a vector. Raises CatalogError."""
    check_meanings(catalog, encoder)
    return nearest_rows(catalog, column_of(encoder), encoder.embed([text])[0], NEAREST, where)
