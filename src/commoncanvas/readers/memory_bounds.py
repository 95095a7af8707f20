"""Compute the unpacked size of a Parquet file or Arrow stream before reading it: a few bytes can unpack to gigabytes.

Formats: https://github.com/apache/parquet-format, https://arrow.apache.org/docs/format/Columnar.html
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
"""Approximate limit for the rows that are read at once."""
MAX_PAGE = 128 << 20
"""Limit in bytes for a page, and for all dictionaries of a row group."""
MAX_PAGES = 256 << 20
"""Limit in bytes for the sum of each column's largest page and dictionary: a reader holds these in memory at once."""
MAX_LIST = 10_000_000
"""Up to this many list values of a row group may use less than a bit each."""
HEADER_BYTES = 64 << 10
"""Limit for a page header. pyarrow writes about a hundred bytes; statistics can add a few thousand."""
_USUAL_HEADER = 1 << 10
_DICTIONARY, _DELTA = 2, 7


@dataclass(frozen=True)
class Chunk:
    """A column's part of a row group, from the footer: path, bytes, and offsets of the first pages."""

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
    """A page header. Readers allocate memory by it, not by the footer.

    `values` includes nulls. `longest` is the largest possible size of a value, in bytes.
    """

    dictionary: bool
    size: int
    values: int
    longest: int


def row_groups(path: Path) -> list[Group]:
    """Read the footer of a Parquet file. Raises ValueError if it can't be read.

    pyarrow's metadata objects crash the process if a footer is inconsistent.
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
        raise ValueError(f"its footer lacks required fields: {error}") from error


def _chunk(metadata: dict[int, Any]) -> Chunk:
    """From a `ColumnMetaData`."""
    column = b".".join(metadata[3]).decode()
    return Chunk(column, int(metadata[7]), tuple(metadata[place] for place in (11, 9) if metadata.get(place)))


def rows_at_once(path: Path, columns: Sequence[str] | None) -> int:
    """How many rows of `columns` (None: all) fit into BATCH_BYTES if each value has its largest possible size.

    Raises SourceError if the file needs too much memory, ValueError and OSError if it can't be read.
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
    """Bytes of a column's dictionary, of its largest page, and of its largest value in a row. Raises SourceError."""
    dictionary = largest = unpacked = values = longest = 0
    for page in _pages(path, raw, chunk):
        if page.size > MAX_PAGE:
            raise _too_large(path, f"column {chunk.column}", page.size)
        unpacked += page.size
        if page.dictionary:
            # One value can fill the dictionary and occur in every row.
            dictionary += page.size
        else:
            largest = max(largest, page.size)
            values += page.values
            longest = max(longest, page.longest)
    # A row with a list has many values (here the average counts). One byte can unpack to thousands of values.
    if values - rows > max(MAX_LIST, 8 * unpacked):
        raise _too_large(path, f"lists in column {chunk.column}", 8 * values)
    return dictionary, largest, (dictionary + longest) * max(1, values // max(1, rows))


def _too_large(path: Path, part: str, size: int) -> SourceError:
    return SourceError(
        f"{path}: {part} would need {size:,} bytes of memory at once; write it with smaller row groups and pages"
    )


def _pages(path: Path, raw: IO[bytes], chunk: Chunk) -> Iterator[Page]:
    """The pages of a chunk up to an invalid one, which pyarrow will report. Raises SourceError."""
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
        # In delta encoding a value can repeat the start of the value before it, so it can be as long as the page.
        longest = unpacked if encoding == _DELTA else unpacked // max(1, values)
        yield Page(dictionary, unpacked, values, longest)
        place += size + packed


def _header(path: Path, raw: IO[bytes], place: int) -> tuple[dict[int, Any], int]:
    """The `PageHeader` at `place` and its size; an empty one if it is invalid.

    Raises SourceError if it has more than HEADER_BYTES.
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
                    f"{path}: a page header has more than {HEADER_BYTES:,} bytes; write the file again"
                ) from error
        except ValueError:
            break
    return {}, 0


def check_stream(path: Path) -> None:
    """Raises SourceError if an Arrow stream has compressed buffers: their unpacked size is not known in advance."""
    # pyarrow reports damaged messages later.
    with suppress(StopIteration, struct.error, pa.ArrowException, OSError):
        messages = pa.ipc.MessageReader.open_stream(pa.memory_map(str(path)))
        while True:
            if _packed(messages.read_next_message().metadata.to_pybytes()):
                raise SourceError(
                    f"{path} has compressed buffers, which datasets never writes; save it without compression"
                )


def _packed(message: bytes) -> bool:
    """Whether the flatbuffer `Message` is a RecordBatch with `compression`, or a DictionaryBatch with one."""

    def field(table: int, index: int) -> int | None:
        """Offset of a table's field; None if it isn't set."""
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
