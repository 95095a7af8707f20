"""Text files of any size, plain or compressed, as blocks of whole lines with the number of the first line."""

from __future__ import annotations

import bz2
import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from commoncanvas.core.errors import SourceError
from commoncanvas.table.report import Report

BLOCK_BYTES = 8 << 20
"""A line longer than a block is skipped: it can't be metadata."""


@dataclass(frozen=True)
class Lines:
    """Whole lines; only the last line of the file may lack a newline. `first` is the number of the first line."""

    data: bytes
    first: int


def read_blocks(path: Path, report: Report) -> Iterator[Lines]:
    """Yield blocks. If the file becomes unreadable or is cut off, SourceError follows the last readable block."""
    rest, first, skipping = b"", 1, False
    with _opened(path) as file:
        while data := _read(file, path, first):
            data = rest + data
            cut = data.rfind(b"\n") + 1
            lines, rest = data[:cut], data[cut:]
            if skipping and lines:
                end = lines.find(b"\n") + 1  # end of the line that is too long
                lines, first, skipping = lines[end:], first + 1, False
            if lines:
                yield Lines(lines, first)
                first += lines.count(b"\n")
            if len(rest) > BLOCK_BYTES:
                if not skipping:
                    report.skip(f"{path.name}:{first}", "line too long", f"more than {BLOCK_BYTES:,} bytes")
                rest, skipping = b"", True
    if rest and not skipping:
        yield Lines(rest, first)


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    try:
        with path.open("rb") as raw:
            start = raw.read(3)
            raw.seek(0)
            if start == b"BZh":
                with bz2.open(raw) as unpacked:
                    yield unpacked
            elif start[:2] == b"\x1f\x8b":
                with gzip.open(raw) as unzipped:
                    yield cast(IO[bytes], unzipped)
            else:
                yield raw
    except OSError as error:
        raise SourceError(f"{path} can't be read: {error.strerror or error}") from error


def _read(file: IO[bytes], path: Path, line: int) -> bytes:
    try:
        return file.read(BLOCK_BYTES)
    except (OSError, EOFError, zlib.error) as error:
        raise SourceError(
            f"{path} can't be read after about line {line:,}: {error}; the rows before it are imported"
        ) from error
