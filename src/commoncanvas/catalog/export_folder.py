"""What an export keeps of itself in its folder, and whether that is whole."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

STATE = ".export"
"""Folder of what is needed to go on: state.json, and a record of each shard."""
CARD = "README.md"
"""It is written last."""
PARTIAL = ".partial"
"""Behind the name of a folder that isn't whole yet."""


@dataclass(frozen=True)
class Shard:
    """One file of an export, as its record has it."""

    name: str
    rows: int
    bytes: int
    sha256: str


def record_of(folder: Path, name: str) -> Path:
    """Where the record of a shard is."""
    return folder / STATE / f"{Path(name).name}.json"


def finished(folder: Path, name: str) -> Shard | None:
    """The shard, if it is there as its record has it."""
    try:
        shard = Shard(**json.loads(record_of(folder, name).read_text(encoding="utf-8")))
        return shard if (folder / name).stat().st_size == shard.bytes else None
    except FileNotFoundError:
        return None


def state_of(folder: Path) -> dict[str, Any] | None:
    """What the export is: its arguments, version and rows; None before it has begun."""
    try:
        state: dict[str, Any] = json.loads((folder / STATE / "state.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return state


def cut_off(path: Path) -> str | None:
    """Why the export that `path` is, or lies in, is not whole. None if it is, or if there is none."""
    folder = next((each for each in (path, *path.absolute().parents[:2]) if (each / STATE).is_dir()), None)
    if folder is None:
        return None
    state = state_of(folder)
    names = [f"data/{record.name.removesuffix('.json')}" for record in (folder / STATE).glob("train-*.json")]
    shards = [finished(folder, name) for name in names]
    rows = sum(shard.rows for shard in shards if shard)
    if state is None or rows != state["rows"]:
        return f"{folder} has {rows:,} of its {state['rows'] if state else 0:,} rows"
    if not (folder / CARD).is_file():
        return f"{folder} has no {CARD}"
    return f"{folder} has not got its name" if folder.name.endswith(PARTIAL) else None
