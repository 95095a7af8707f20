"""Samples of WebDataset shards: consecutive files of a tar archive with the same key.

https://github.com/webdataset/webdataset
"""

from __future__ import annotations

import os
import re
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from commoncanvas.core.errors import SourceError
from commoncanvas.images.tasks import MAX_BYTES
from commoncanvas.readers.walk import IMAGE_ENDINGS
from commoncanvas.table.report import Report

TEXTS = ("json", "txt")
MAX_TEXT_BYTES = 8 << 20
"""Limit for a sample's `json` or `txt`."""
COMPRESSED = (".gz", ".tgz", ".bz2", ".xz", ".zst", ".zip", ".7z", ".rar")

# The key is the path up to the first dot of the base name, but not a leading dot; the part's name follows the dot.
_NAME = re.compile(r"((?:.*/)?[^./][^./]*)\.([^/]+)", re.DOTALL)


@dataclass
class Sample:
    """Files with one key. `parts`: name of the part (`jpg`, `json`) -> bytes."""

    key: str
    parts: dict[str, bytes] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)
    """Names of all parts, even if they aren't read."""
    twice: str | None = None
    """The name of a duplicate part; it is unclear which one belongs to the sample."""

    @property
    def image(self) -> bytes | None:
        """The image; of several formats the first in IMAGE_ENDINGS."""
        return next((self.parts[kind] for kind in IMAGE_ENDINGS if kind in self.parts), None)


def check_end(path: Path) -> None:
    """Raises SourceError if an archive has no end mark: its writer was killed, and files may be missing."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 1024))
        if size < 1024 or any(file.read()):
            raise SourceError(
                f"{path} is not a complete tar archive: it has no end mark; "
                "remove it, or create it again with img2dataset"
            )


def samples(path: Path, report: Report) -> Iterator[Sample]:
    """Yield samples with their images, `json` and `txt`; at most MAX_BYTES per sample.

    Files that are left out go to `report.remark`. If the archive is damaged, SourceError follows the samples before
    that place. The last of these is not yielded, since the damage may concern it.
    """
    sample: Sample | None = None
    for tar, member, key, part in _members(path, report):
        if sample is None or key != sample.key:
            if sample is not None:
                yield sample
            sample = Sample(key)
        if part in sample.names:
            sample.twice = part
            continue
        sample.names.add(part)
        if part in (*IMAGE_ENDINGS, *TEXTS):
            room = MAX_TEXT_BYTES if part in TEXTS else MAX_BYTES - sum(map(len, sample.parts.values()))
            if why := _left_out(member, room):
                report.remark(f"{path.name} sample {key}", "file left out", f"{part}: {why}")
            else:
                with _explained(path, key):
                    content = tar.extractfile(member)
                    sample.parts[part] = content.read() if content else b""
    if sample is not None:
        yield sample


def scattered(path: Path) -> set[str]:
    """Keys whose files are not consecutive."""
    found: set[str] = set()
    seen: set[str] = set()
    last = None
    for _, _, key, _ in _members(path, Report()):
        if key != last and key in seen:
            found.add(key)
        seen.add(key)
        last = key
    return found


def _members(path: Path, report: Report) -> Iterator[tuple[tarfile.TarFile, tarfile.TarInfo, str, str]]:
    """(archive, member, key, part) of each file."""
    key = "none"
    with _explained(path, key), tarfile.open(path, "r:") as tar:
        while True:
            with _explained(path, key):
                member = tar.next()
            if member is None:
                break
            tar.members = []  # type: ignore[attr-defined]  # otherwise it keeps all files in memory
            if member.isdir():
                continue
            name = _NAME.fullmatch(member.name.removeprefix("./"))
            if name is None:
                report.remark(
                    f"{path.name} file {member.name[:100]}", "file left out", "it belongs to no sample"
                )
                continue
            key = name[1]
            yield tar, member, key, name[2].lower()
        with _explained(path, key):
            _check_rest(path, tar.offset)


def _left_out(member: tarfile.TarInfo, room: int) -> str | None:
    """Why a file is not read; None if it is read."""
    if not member.isreg():
        return "a link or a device"
    if member.issparse():
        return f"a sparse file that claims {member.size:,} bytes"
    return f"{member.size:,} bytes, more than {room:,}" if member.size > room else None


def _check_rest(path: Path, offset: int) -> None:
    """Check that only zeros follow the end mark: tarfile takes an unreadable header for the end mark."""
    with path.open("rb") as file:
        file.seek(offset)
        if any(file.read(tarfile.BLOCKSIZE)):
            raise tarfile.ReadError("a file's header can't be read")
        while block := file.read(1 << 20):
            if block.strip(b"\0"):
                raise tarfile.ReadError("data follow its end mark, such as another archive")


@contextmanager
def _explained(path: Path, key: str) -> Iterator[None]:
    try:
        yield
    except SourceError:
        raise
    except Exception as error:  # for invalid headers tarfile raises many kinds of errors
        raise SourceError(f"{path} is damaged after sample {key}: {error}; create it again") from error
