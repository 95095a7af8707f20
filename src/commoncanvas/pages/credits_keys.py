"""Image ids and addresses, as the page of credits finds them: whole, by a hash. Pure.

A key is hashed by CRC-32 into one of B buckets. A bucket keeps 16 more bits of each hash, and the number of the row or
the creator; the page reads that row, and so it shows only true matches.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from urllib.parse import unquote_to_bytes
from zlib import crc32

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from commoncanvas.pages.credits_index import Numbers

IN_BUCKET = 2000
"""About the keys in one bucket."""
BUCKETS = 1000
"""Most buckets: each is a file."""
SAME = 500
"""Most rows that are listed for one key, such as the address of a site that is the page of all its works."""
PRINTS = 1 << 16
BATCH = 100_000
_SCHEME = r"^(https?://)?(www\.)?"
_BROKEN = re.compile("%(?![0-9A-Fa-f]{2})")


@dataclass(frozen=True)
class Keys:
    """Hashes [K] of keys with the number of the row or creator that has each."""

    hashes: Numbers
    numbers: Numbers


def plain(texts: pa.Array) -> pa.Array:
    """Ids and addresses as they are compared: without scheme, `www.` and slash at the end, percent-decoded, NFC,
    A to Z in lower case. `keyOf` in credits.js does the same.
    """
    found = pc.replace_substring_regex(pc.utf8_trim_whitespace(texts), f"(?i){_SCHEME}", "")
    encoded = pc.fill_null(pc.match_substring(found, "%"), False)
    if pc.any(encoded).as_py():
        decoded = pa.array([_decoded(text) for text in found.filter(encoded).to_pylist()], found.type)
        found = pc.replace_with_mask(found, encoded, decoded)
    return pc.utf8_rtrim(pc.ascii_lower(pc.utf8_normalize(found, form="NFC")), "/")


def keys_of(*columns: pa.Array) -> Keys:
    """The keys of rows or creators that have these ids or addresses; empty ones have none."""
    hashes, numbers = [], []
    for column in columns:
        for start, some in _batches(column):
            own = np.array([text is not None and text != "" for text in some], np.bool_)
            numbers.append(start + np.flatnonzero(own))
            hashes.append(np.array([crc32(text.encode()) for text in some if text], np.int64))
    every = (
        np.stack([np.concatenate(hashes), np.concatenate(numbers)]) if hashes else np.empty((2, 0), np.int64)
    )
    every = every[:, np.lexsort(every[::-1])]
    new = np.ones(every.shape[1], np.bool_)
    new[1:] = (every[:, 1:] != every[:, :-1]).any(0)  # an id that is its own address counts once
    every = every[:, new]
    return Keys(*every[:, _place_among_equal(every[0]) < SAME])


def bucket_count(keys: int) -> int:
    return min(max(-(-keys // IN_BUCKET), 1), BUCKETS)


def bucketed(keys: Keys, buckets: int) -> Iterator[Keys]:
    """The keys of each bucket; their hashes are the prints, ascending."""
    bucket, prints = keys.hashes % buckets, keys.hashes // buckets % PRINTS
    order = np.lexsort((keys.numbers, prints, bucket))
    bounds = np.searchsorted(bucket[order], np.arange(buckets + 1))
    for start, end in pairwise(bounds.tolist()):
        own = order[start:end]
        yield Keys(prints[own], keys.numbers[own])


def _batches(column: pa.Array) -> Iterator[tuple[int, list[str | None]]]:
    for start in range(0, len(column), BATCH):
        yield start, plain(column.slice(start, BATCH)).to_pylist()


def _place_among_equal(ascending: Numbers) -> Numbers:
    starts = np.searchsorted(ascending, ascending)
    return np.arange(len(ascending)) - starts


def _decoded(text: str) -> str:
    """Percent-decoded, unless that is no UTF-8, as JavaScript's `decodeURIComponent` does it."""
    try:
        return text if _BROKEN.search(text) else unquote_to_bytes(text).decode()
    except UnicodeDecodeError:
        return text


def sources(ids: pa.Array) -> list[str]:
    """What stands before the colon in ids, so that the rest of an id is enough."""
    with_one = ids.filter(pc.match_substring(ids, ":"))
    names = pc.unique(pc.list_element(pc.split_pattern(with_one, ":", max_splits=1), 0)).to_pylist()
    return sorted(unicodedata.normalize("NFC", name) for name in names)[:50]
