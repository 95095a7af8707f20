"""The state that an export keeps in its folder, and whether the export is complete."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

STATE = ".export"
"""Folder with the state that is needed to continue: state.json and a record of each shard."""
CARD = "README.md"
"""The card, which is written last."""
PARTIAL = ".partial"
"""Suffix of a folder that isn't complete yet."""
DATA = "data"
"""Folder with the shards."""
REMOVED = "removed.parquet"
"""In a release: hashes of images that were taken down. It has no rows of the data set."""


@dataclass(frozen=True)
class Shard:
    """The record of one file of an export."""

    name: str
    rows: int
    bytes: int
    sha256: str


def lists_removed(path: Path) -> bool:
    """Whether a file is the REMOVED of an export, which has no rows."""
    return path.name == REMOVED and (path.parent / DATA).is_dir()


def record_of(folder: Path, name: str) -> Path:
    """Path of a shard's record."""
    return folder / STATE / f"{Path(name).name}.json"


def finished(folder: Path, name: str) -> Shard | None:
    """The shard, if its file exists and has the recorded size; else None."""
    try:
        shard = Shard(**json.loads(record_of(folder, name).read_text(encoding="utf-8")))
        return shard if (folder / name).stat().st_size == shard.bytes else None
    except FileNotFoundError:
        return None


def state_of(folder: Path) -> dict[str, Any] | None:
    """The export's arguments, version and rows; None if it has not started."""
    try:
        state: dict[str, Any] = json.loads((folder / STATE / "state.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return state


def cut_off(path: Path) -> str | None:
    """Why the export at `path`, or around it, is incomplete. None if it is complete, or if there is no export."""
    folder = next((each for each in (path, *path.absolute().parents[:2]) if (each / STATE).is_dir()), None)
    if folder is None:
        return None
    state = state_of(folder)
    names = [
        f"{DATA}/{record.name.removesuffix('.json')}" for record in (folder / STATE).glob("train-*.json")
    ]
    shards = [finished(folder, name) for name in names]
    rows = sum(shard.rows for shard in shards if shard)
    if state is None or rows != state["rows"]:
        return f"{folder} has {rows:,} of its {state['rows'] if state else 0:,} rows"
    if not (folder / CARD).is_file():
        return f"{folder} has no {CARD}"
    return f"{folder} was not renamed yet" if folder.name.endswith(PARTIAL) else None
