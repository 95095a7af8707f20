"""Files that several processes share and killed ones leave behind: locks, and texts that are whole or not there."""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from commoncanvas.core.errors import CommonCanvasError

NAME = ".lock"
_REMEDIES = {
    "free space there, or choose a larger disk, and run it again": re.compile(
        r"no space left|quota exceeded|file too large|os error (27|28|122)\b", re.IGNORECASE
    ),
    "make that place writable, or choose another": re.compile(
        r"read-only file system|permission denied|os error (13|30)\b", re.IGNORECASE
    ),
}


def with_remedy(said: str) -> str:
    """What a failed write said, and what to do where the disk is full, or the place can't be written to."""
    found = (what for what, pattern in _REMEDIES.items() if pattern.search(said))
    return "; ".join([said, *found])


def why(error: OSError) -> str:
    """The system's word for what went wrong, and what to do about it; not the path, which messages name themselves."""
    return with_remedy(os.strerror(error.errno).lower() if error.errno else str(error))


def from_anywhere(model: str) -> str:
    """A model's folder by its whole path, for processes in other folders; a hub id as it is."""
    return str(Path(model).absolute()) if Path(model).exists() else model


def sync(folder: Path, deep: bool = True) -> None:
    """Wait until a folder, and with `deep` all in it, is on the disk: a power cut leaves it as it is now."""
    for path in [*(folder.rglob("*") if deep else ()), folder]:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def replace_text(path: Path, text: str) -> None:
    """Write `text` at `path`: whoever reads it sees what was there before, or all of it."""
    partial = path.with_name(f".{path.name}.part")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


@contextmanager
def only_one(folder: Path) -> Iterator[int]:
    """Hold `folder` (made if need be) for as long as this process, or a child that inherits the yielded handle, lives.

    Raises CommonCanvasError if another holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / NAME).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise CommonCanvasError(f"{folder} is in use by another run; wait for it, or stop it") from error
        yield file.fileno()
