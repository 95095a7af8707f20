"""Rows whose texts have all of some words: by Lance's full-text indexes, or without them row by row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from lance.query import BooleanQuery, FullTextOperator, MatchQuery, Occur

from commoncanvas.table.lance_errors import explaining_filter
from commoncanvas.table.rows import RowIds
from commoncanvas.table.search_index import TEXTS, indexed_texts
from commoncanvas.table.snapshot import Snapshot
from commoncanvas.table.sql import all_of, quoted


class Ranked(NamedTuple):
    """Row ids in their order, and whether that is the order of relevance; else it is the catalog's."""

    row_ids: RowIds
    by_relevance: bool


def matching_words(catalog: Snapshot, words: Sequence[str], where: str | None = None) -> Ranked:
    """Row ids of all rows that meet `where` (SQL), and have each of `words` in one of the columns TEXTS.

    `words` are letters and digits, as `catalog.searching.query.split` makes them. With indexes: in the order of
    relevance (the sum over the words and columns of BM25, https://doi.org/10.1561/1500000019), equal ones in the
    catalog's; a word is also found with another ending, without its accents, and in capitals. Without: in the catalog's
    order, and a word is found as it is, or in capitals. Raises CatalogError.
    """
    columns = indexed_texts(catalog)
    if not words or not columns:
        return Ranked(row_ids(catalog, all_of(where, *(_has(catalog.schema, each) for each in words))), False)
    query = BooleanQuery([(Occur.MUST, _in_any(word, columns)) for word in words])
    with explaining_filter(catalog.dataset, where):
        found = catalog.dataset.scanner(
            columns=["_rowid", "_score"], full_text_query=query, filter=where, prefilter=True
        ).to_table()
    ids: RowIds = found["_rowid"].to_numpy()
    order = np.lexsort((ids, -found["_score"].to_numpy()))
    return Ranked(ids[order], True)


def row_ids(catalog: Snapshot, where: str | None = None) -> RowIds:
    """Row ids of the rows that meet `where` (SQL), in the catalog's order: as they were added. Raises CatalogError."""
    with explaining_filter(catalog.dataset, where):
        found = catalog.dataset.scanner(columns=[], filter=where, with_row_id=True).to_table()
    ids: RowIds = np.sort(found["_rowid"].to_numpy())
    return ids


def _in_any(word: str, columns: Sequence[str]) -> BooleanQuery:
    """The index may split a word further, as in Japanese: then one column must have all parts."""
    return BooleanQuery(
        [(Occur.SHOULD, MatchQuery(word, name, operator=FullTextOperator.AND)) for name in columns]
    )


def _has(schema: pa.Schema, word: str) -> str:
    texts = [
        f"array_to_string({name}, ' ')" if pa.types.is_list(schema.field(name).type) else name
        for name in TEXTS
        if name in schema.names
    ]
    pattern = quoted(rf"(?i)\b{word}\b")
    return f"regexp_like(concat_ws(' ', {', '.join(texts)}), {pattern})"
