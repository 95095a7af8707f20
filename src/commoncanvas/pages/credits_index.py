"""What the page of credits searches: rows in the order of their creators, and which of them have a word. Pure.

Shapes: N rows, C creators, V words, P postings (pairs of a word and a row or creator that has it).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

LONGEST_TEXT = 300
"""Characters of a title or name that are shown and indexed. credits.parquet has all."""
LONGEST_WORD = 40
MOST = 5000
"""Most titles that are listed for one word; the page says how many there are."""
IDEOGRAPHS = r"[\x{3040}-\x{30ff}\x{3400}-\x{4dbf}\x{4e00}-\x{9fff}\x{f900}-\x{faff}\x{20000}-\x{3ffff}]"

Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class Postings:
    """For word `v`, the ascending numbers `numbers[offsets[v]:offsets[v + 1]]`; `counts[v]` with those left out."""

    offsets: Numbers
    numbers: Numbers
    counts: Numbers


@dataclass(frozen=True)
class Index:
    """Words [V] in the order of their code points, with the titles and the creators that have them."""

    words: list[str]
    titles: Postings
    creators: Postings


def spelled(texts: pa.Array) -> pa.Array:
    """Texts as their words with a space between: NFKD, lower case, without marks, letters and digits only.

    Each ideograph and kana is a word, because such scripts have no spaces. `wordsOf` in credits.js does the same.
    """
    found = pc.utf8_lower(pc.utf8_normalize(texts, form="NFKD"))
    found = pc.replace_substring(pc.replace_substring_regex(found, r"\p{M}+", ""), "ς", "σ")
    found = pc.replace_substring_regex(found, f"({IDEOGRAPHS})", r" \1 ")
    return pc.utf8_trim(pc.replace_substring_regex(found, r"[^\p{L}\p{N}]+", " "), " ")


def by_creator(names: pa.Array, urls: pa.Array, titles: pa.Array) -> tuple[pa.Array, Numbers]:
    """Order of N rows by creator and title, rows without a creator last; and the first place [C] of each creator in it.

    A creator is a name with an address: two people may have one name.
    """
    keys = pa.table({"key": spelled(names), "name": names, "url": urls, "title": titles})
    sorted_by = [(name, "ascending") for name in keys.column_names]
    order = pc.sort_indices(keys, sort_keys=sorted_by)  # null is last
    changes = np.zeros(len(order), np.bool_)
    changes[:1] = True
    for column in (names, urls):
        codes = pc.dictionary_encode(column, null_encoding="encode").indices.take(order).to_numpy()
        changes[1:] |= codes[1:] != codes[:-1]
    return order, np.flatnonzero(changes)


def index_of(titles: pa.Array, creators: pa.Array) -> Index:
    """The words of N titles and C names."""
    rows, row_words = _tokens(titles)
    people, person_words = _tokens(creators)
    encoded = pa.chunked_array([row_words, person_words]).combine_chunks().dictionary_encode()
    codes, words = encoded.indices.to_numpy().astype(np.int64), encoded.dictionary
    del row_words, person_words, encoded
    order = pc.sort_indices(words)
    rank = np.empty(len(words), np.int64)
    rank[order.to_numpy()] = np.arange(len(words))
    codes = rank[codes]
    return Index(
        words.take(order).to_pylist(),
        _postings(codes[: len(rows)], rows, len(words)),
        _postings(codes[len(rows) :], people, len(words)),
    )


def _tokens(texts: pa.Array) -> tuple[Numbers, pa.Array]:
    """For each word of the texts, the number of its text and the word."""
    lists = pc.split_pattern(spelled(texts), " ")
    words = pc.utf8_slice_codeunits(pc.list_flatten(lists), 0, LONGEST_WORD)
    present = pc.not_equal(words, "")
    numbers = pc.list_parent_indices(lists).filter(present)
    return numbers.to_numpy().astype(np.int64), words.filter(present)


def _postings(codes: Numbers, numbers: Numbers, words: int) -> Postings:
    """Postings from the word and the number of each token. A word that a text has twice counts once."""
    order = np.lexsort((numbers, codes))
    codes, numbers = codes[order], numbers[order]
    new = np.ones(len(codes), np.bool_)
    new[1:] = (codes[1:] != codes[:-1]) | (numbers[1:] != numbers[:-1])
    codes, numbers = codes[new], numbers[new]
    counts = np.bincount(codes, minlength=words).astype(np.int64)
    starts = np.concatenate([[0], np.cumsum(counts)])
    kept = np.arange(len(codes)) - starts[codes] < MOST
    offsets = np.concatenate([[0], np.cumsum(np.minimum(counts, MOST))])
    return Postings(offsets, numbers[kept], counts)
