"""What a Parquet file or an Arrow stream takes in memory when it is unpacked, known before: a few bytes can stand for
gigabytes.

The formats: https://github.com/apache/parquet-format, https://arrow.apache.org/docs/format/Columnar.html
"""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pyarrow as pa

from commoncanvas.core.errors import SourceError
from commoncanvas.readers.thrift import EndOfData, Reader

BATCH_BYTES = 64 << 20
"""Of the rows that are read at once, about."""
MAX_PAGE = 128 << 20
"""Bytes of a page, and of all dictionaries of a row group, at most."""
MAX_PACKING = 100
"""Times that a column of more than MAX_PAGE bytes may be larger than what stands for it in the file."""
HEADER_BYTES = 64 << 10
"""Bytes of a page's header, at most; pyarrow writes a hundred, and its statistics may bring some thousands."""
_DICTIONARY = 2


@dataclass(frozen=True)
class Chunk:
    """A column's part of a row group, as the footer has it: its path, bytes, and where its first pages are."""

    column: str
    unpacked: int
    packed: int
    pages: tuple[int, ...]


@dataclass(frozen=True)
class Group:
    """A row group."""

    rows: int
    chunks: tuple[Chunk, ...]


def row_groups(path: Path) -> list[Group]:
    """What the footer of a Parquet file says. Raises ValueError for one that can't be read.

    pyarrow's own objects end the process where a footer contradicts itself.
    """
    with path.open("rb") as file:
        file.seek(-8, os.SEEK_END)
        size = int.from_bytes(file.read(4), "little")
        file.seek(-8 - size, os.SEEK_END)
        footer = Reader(file.read(size)).struct()
    try:
        return [
            Group(group[3], tuple(_chunk(column[3]) for column in group[1])) for group in footer.get(4, [])
        ]
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"its footer lacks what Parquet demands: {error}") from error


def _chunk(said: dict[int, Any]) -> Chunk:
    """Of a `ColumnMetaData`."""
    column = b".".join(said[3]).decode()
    return Chunk(
        column, int(said[6]), int(said[7]), tuple(said[place] for place in (11, 9) if said.get(place))
    )


def rows_at_once(path: Path, columns: Sequence[str] | None) -> int:
    """Rows of `columns` (None: all) that take BATCH_BYTES at most, were each value the largest that it can be.

    Raises SourceError for a file that would take too much, ValueError and OSError for one that can't be read.
    """
    most = BATCH_BYTES
    with path.open("rb") as raw:
        for group in row_groups(path):
            dictionaries = unpacked = 0
            for chunk in group.chunks:
                if columns is None or any(f"{chunk.column}.".startswith(f"{name}.") for name in columns):
                    # A value can be as long as its dictionary, and stand in every row.
                    dictionaries += _dictionary(path, raw, chunk)
                    unpacked += chunk.unpacked
            if dictionaries > MAX_PAGE:
                raise _too_large(path, "its dictionaries", dictionaries)
            most = min(most, BATCH_BYTES // max(1, dictionaries, unpacked // max(1, group.rows)))
    return max(1, most)


def _dictionary(path: Path, raw: IO[bytes], chunk: Chunk) -> int:
    """Bytes of a column's dictionary. Raises SourceError."""
    pages = [_page(path, raw, place) for place in chunk.pages]
    largest = max((size for _, size in pages), default=0)
    if chunk.unpacked > max(MAX_PAGE, MAX_PACKING * chunk.packed):
        largest = chunk.unpacked
    if largest > MAX_PAGE:
        raise _too_large(path, f"column {chunk.column}", largest)
    return sum(size for kind, size in pages if kind == _DICTIONARY)


def _too_large(path: Path, what: str, size: int) -> SourceError:
    return SourceError(
        f"{path}: {what} would take {size:,} bytes of memory at once; write it anew with smaller row groups and pages"
    )


def _page(path: Path, raw: IO[bytes], place: int) -> tuple[int, int]:
    """(kind, bytes when unpacked) of the page at `place`: what its reader allocates, whatever the footer says.

    Raises SourceError for a `PageHeader` of more than HEADER_BYTES.
    """
    raw.seek(place)
    data = raw.read(HEADER_BYTES)
    try:
        header = Reader(data).struct()
        return int(header[1]), int(header[2])
    except EndOfData as error:
        if len(data) == HEADER_BYTES:
            raise SourceError(
                f"{path}: the header of a page has more than {HEADER_BYTES:,} bytes; write it anew"
            ) from error
    except (ValueError, KeyError, TypeError):
        pass
    return 0, 0  # no page; its reader will say so


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
