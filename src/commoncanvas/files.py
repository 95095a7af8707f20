"""Files that several processes share and killed ones leave behind: locks, and texts that are whole or not there."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from commoncanvas.errors import CommonCanvasError

NAME = ".lock"


def from_anywhere(model: str) -> str:
    """A model's folder by its whole path, for processes in other folders; a hub id as it is."""
    return str(Path(model).absolute()) if Path(model).exists() else model


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
