"""What a Parquet file or an Arrow stream takes in memory when it is unpacked, known before: a few bytes can stand for
gigabytes.

The formats: https://github.com/apache/parquet-format, https://arrow.apache.org/docs/format/Columnar.html
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import pyarrow as pa

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


def check_stream(path: Path) -> None:
    """Raises SourceError for an Arrow stream with packed buffers: what they unpack to is known only afterwards."""
    # A damaged message is left to its reader.
    with suppress(StopIteration, struct.error, pa.ArrowException, OSError):
        messages = pa.ipc.MessageReader.open_stream(pa.memory_map(str(path)))
        while True:
            if _packed(messages.read_next_message().metadata.to_pybytes()):
                raise SourceError(
                    f"{path} has packed buffers, which datasets never writes; save it anew without"
                )


def _packed(message: bytes) -> bool:
    """Whether the flatbuffer `Message` is a RecordBatch with `compression`, or a DictionaryBatch of such."""

    def field(table: int, index: int) -> int | None:
        """Where a table's field stands; None if it isn't set."""
        (back,) = struct.unpack_from("<i", message, table)
        size, *_ = struct.unpack_from("<H", message, table - back)
        place = 4 + 2 * index
        (offset,) = struct.unpack_from("<H", message, table - back + place) if place < size else (0,)
        return table + offset if offset else None

    def follow(place: int) -> int:
        return place + int(struct.unpack_from("<I", message, place)[0])

    root = follow(0)
    kind, header = field(root, 1), field(root, 2)
    if kind is None or header is None:
        return False
    batch = follow(header)
    if message[kind] == 2:  # DictionaryBatch: its `data`
        data = field(batch, 1)
        return data is not None and field(follow(data), 3) is not None
    return message[kind] == 3 and field(batch, 3) is not None
