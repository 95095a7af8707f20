"""Files that processes share: locks, atomic writes, and messages for failed writes."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from commoncanvas.core.errors import CommonCanvasError
from commoncanvas.core.platforms import try_lock

NAME = ".lock"
_REMEDIES = {
    "free space there, or choose a larger disk, and run it again": re.compile(
        r"no space left|quota exceeded|file too large|os error (27|28|122)\b", re.IGNORECASE
    ),
    "make that place writable, or choose another": re.compile(
        r"read-only file system|permission denied|os error (13|30)\b", re.IGNORECASE
    ),
}


def with_remedy(message: str) -> str:
    """The `message` of a failed write, and what to do if the disk is full or the place isn't writable.

    A message that says so already stays the same.
    """
    found = (
        remedy for remedy, pattern in _REMEDIES.items() if pattern.search(message) and remedy not in message
    )
    return "; ".join([message, *found])


def why(error: OSError) -> str:
    """The system's message for `error`, and what to do about it. The path is not in it; the caller adds it."""
    return with_remedy(os.strerror(error.errno).lower() if error.errno else str(error))


def from_anywhere(model: str) -> str:
    """A model folder as an absolute path, for processes in other folders; a hub id unchanged."""
    return str(Path(model).absolute()) if Path(model).exists() else model


def sync(folder: Path, deep: bool = True) -> None:
    """Wait until a folder, and with `deep` all in it, is on the disk: a power cut leaves it as it is now.

    Windows can't do that for folders; only the files are waited for.
    """
    windows = sys.platform == "win32"
    for path in [*(folder.rglob("*") if deep else ()), folder]:
        if windows and path.is_dir():
            continue
        handle = os.open(path, os.O_RDWR if windows else os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def replace_bytes(path: Path, data: bytes) -> None:
    """Write `data` to `path` atomically: readers see the old file or the complete new one."""
    partial = path.with_name(f".{path.name}.part")
    partial.write_bytes(data)
    partial.replace(path)


def replace_text(path: Path, text: str) -> None:
    """Write `text` to `path` atomically, in UTF-8."""
    replace_bytes(path, text.encode("utf-8"))


def replace_json(path: Path, value: Any, *, allow_nan: bool = False) -> None:
    """Write JSON that people can read to `path` atomically.

    Raises ValueError for a number that JSON lacks, such as NaN; `allow_nan` writes it as Python does.
    """
    replace_text(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=allow_nan) + "\n")


@contextmanager
def only_one(folder: Path) -> Iterator[int]:
    """Lock `folder` (made if missing) until this process and all children that inherit the yielded handle have ended.

    Raises CommonCanvasError if another process holds the lock.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / NAME).open("w") as file:
        if not try_lock(file.fileno()):
            raise CommonCanvasError(f"{folder} is in use by another run; wait for it, or stop it")
        yield file.fileno()
