"""What a Parquet file or an Arrow stream takes in memory when it is unpacked, known before: a few bytes can stand for
gigabytes.

The formats: https://github.com/apache/parquet-format, https://arrow.apache.org/docs/format/Columnar.html
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Sequence
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
MAX_PAGES = 256 << 20
"""Bytes of the largest page and the dictionary of each column, added up: a reader holds one of each at once."""
MAX_LIST = 10_000_000
"""Values of lists in a row group that may stand in less than a bit each."""
HEADER_BYTES = 64 << 10
"""Bytes of a page's header, at most; pyarrow writes a hundred, and its statistics may bring some thousands."""
_USUAL_HEADER = 1 << 10
_DICTIONARY, _DELTA = 2, 7


@dataclass(frozen=True)
class Chunk:
    """A column's part of a row group, as the footer has it: its path, bytes, and where its first pages are."""

    column: str
    packed: int
    pages: tuple[int, ...]


@dataclass(frozen=True)
class Group:
    """A row group."""

    rows: int
    chunks: tuple[Chunk, ...]


@dataclass(frozen=True)
class Page:
    """What a page's header says, by which its reader allocates, whatever the footer says.

    `values` are also those that are null; `longest`: bytes that one value of it can have.
    """

    dictionary: bool
    size: int
    values: int
    longest: int


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
    return Chunk(column, int(said[7]), tuple(said[place] for place in (11, 9) if said.get(place)))


def rows_at_once(path: Path, columns: Sequence[str] | None) -> int:
    """Rows of `columns` (None: all) that take BATCH_BYTES at most, were each value the largest that it can be.

    Raises SourceError for a file that would take too much, ValueError and OSError for one that can't be read.
    """
    most = BATCH_BYTES
    with path.open("rb") as raw:
        for group in row_groups(path):
            dictionaries = held = longest = 0
            for chunk in group.chunks:
                if columns is None or any(f"{chunk.column}.".startswith(f"{name}.") for name in columns):
                    dictionary, largest, value = _needs(path, raw, chunk, group.rows)
                    dictionaries += dictionary
                    held += dictionary + largest
                    longest += value
            if dictionaries > MAX_PAGE:
                raise _too_large(path, "its dictionaries", dictionaries)
            if held > MAX_PAGES:
                raise _too_large(path, "the pages of its columns", held)
            most = min(most, BATCH_BYTES // max(1, longest))
    return max(1, most)


def _needs(path: Path, raw: IO[bytes], chunk: Chunk, rows: int) -> tuple[int, int, int]:
    """Bytes of a column's dictionary, of its largest page, and of a row's value at most. Raises SourceError."""
    dictionary = largest = unpacked = values = longest = 0
    for page in _pages(path, raw, chunk):
        if page.size > MAX_PAGE:
            raise _too_large(path, f"column {chunk.column}", page.size)
        unpacked += page.size
        if page.dictionary:
            # A value can be as long as its dictionary, and stand in every row.
            dictionary += page.size
        else:
            largest = max(largest, page.size)
            values += page.values
            longest = max(longest, page.longest)
    # A row can have many values, in a list: on average so many. Of a byte, thousands can be made.
    if values - rows > max(MAX_LIST, 8 * unpacked):
        raise _too_large(path, f"lists in column {chunk.column}", 8 * values)
    return dictionary, largest, (dictionary + longest) * max(1, values // max(1, rows))


def _too_large(path: Path, what: str, size: int) -> SourceError:
    return SourceError(
        f"{path}: {what} would take {size:,} bytes of memory at once; write it anew with smaller row groups and pages"
    )


def _pages(path: Path, raw: IO[bytes], chunk: Chunk) -> Iterator[Page]:
    """The pages of a chunk, as far as they are pages; its reader will say so where one isn't. Raises SourceError."""
    place = min(chunk.pages, default=0)
    end = place + chunk.packed
    while 0 < place < end:
        header, size = _header(path, raw, place)
        try:
            about = header.get(5) or header.get(7) or header.get(8) or {}
            values, encoding = int(about.get(1, 0)), about.get(4 if 8 in header else 2)
            unpacked, packed = int(header[2]), int(header[3])
            dictionary = header[1] == _DICTIONARY
        except (KeyError, ValueError, TypeError, AttributeError):
            return
        if min(values, unpacked, packed) < 0:
            return
        # In delta encoding a value begins with as much of the last one as it says.
        longest = unpacked if encoding == _DELTA else unpacked // max(1, values)
        yield Page(dictionary, unpacked, values, longest)
        place += size + packed


def _header(path: Path, raw: IO[bytes], place: int) -> tuple[dict[int, Any], int]:
    """The `PageHeader` at `place`, and its bytes; an empty one if there is none.

    Raises SourceError for one of more than HEADER_BYTES.
    """
    for most in (_USUAL_HEADER, HEADER_BYTES):
        raw.seek(place)
        data = raw.read(most)
        reader = Reader(data)
        try:
            return reader.struct(), reader.place
        except EndOfData as error:
            if len(data) < most:
                break
            if most == HEADER_BYTES:
                raise SourceError(
                    f"{path}: the header of a page has more than {HEADER_BYTES:,} bytes; write it anew"
                ) from error
        except ValueError:
            break
    return {}, 0


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
