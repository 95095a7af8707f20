"""What a Parquet file takes in memory when it is unpacked, known before: a few bytes can stand for gigabytes.

Its format: https://github.com/apache/parquet-format
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from commoncanvas.errors import SourceError

BATCH_BYTES = 64 << 20
"""Of the rows that are read at once, about."""
MAX_PAGE = 128 << 20
"""Bytes of a page, and of all dictionaries of a row group, at most."""
MAX_PACKING = 100
"""Times that a column of more than MAX_PAGE bytes may be larger than what stands for it in the file."""
_DICTIONARY = 2


def rows_at_once(path: Path, metadata: Any, columns: Sequence[str] | None) -> int:
    """Rows of `columns` (None: all) that take BATCH_BYTES at most, were each value the largest that it can be.

    `metadata` is pyarrow's FileMetaData. Raises SourceError for a file that would take too much.
    """
    most = BATCH_BYTES
    with path.open("rb") as raw:
        for group in map(metadata.row_group, range(metadata.num_row_groups)):
            dictionaries = unpacked = 0
            for chunk in map(group.column, range(group.num_columns)):
                if columns is None or any(
                    f"{chunk.path_in_schema}.".startswith(f"{name}.") for name in columns
                ):
                    # A value can be as long as its dictionary, and stand in every row.
                    dictionaries += _dictionary(path, raw, chunk)
                    unpacked += chunk.total_uncompressed_size
            if dictionaries > MAX_PAGE:
                raise _too_large(path, "its dictionaries", dictionaries)
            most = min(most, BATCH_BYTES // max(1, dictionaries, unpacked // max(1, group.num_rows)))
    return max(1, most)


def _dictionary(path: Path, raw: IO[bytes], chunk: Any) -> int:
    """Bytes of a column's dictionary. Raises SourceError."""
    pages = [_page(raw, place) for place in (chunk.dictionary_page_offset, chunk.data_page_offset) if place]
    largest = max((size for _, size in pages), default=0)
    if chunk.total_uncompressed_size > max(MAX_PAGE, MAX_PACKING * chunk.total_compressed_size):
        largest = chunk.total_uncompressed_size
    if largest > MAX_PAGE:
        raise _too_large(path, f"column {chunk.path_in_schema}", largest)
    return sum(size for kind, size in pages if kind == _DICTIONARY)


def _too_large(path: Path, what: str, size: int) -> SourceError:
    return SourceError(
        f"{path}: {what} would take {size:,} bytes of memory at once; write it anew with smaller row groups and pages"
    )


def _page(raw: IO[bytes], place: int) -> tuple[int, int]:
    """(kind, bytes when unpacked) of the page at `place`: what its reader allocates, whatever the footer says.

    The first two fields of a `PageHeader` in Thrift's compact protocol: i32, each zigzag and as a varint.
    """
    raw.seek(place)
    data = iter(raw.read(32))
    values = []
    for _ in range(2):
        if next(data, None) != 0x15:
            return 0, 0  # no page; its reader will say so
        value = shift = 0
        for byte in data:
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        values.append(value >> 1)
    return values[0], values[1]
