"""What imports left out: a small record of each, kept beside the tombstones. Counts and reasons; no rows, no names."""

from __future__ import annotations

import hashlib
import json
import uuid
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime

from commoncanvas.catalog.explain import explaining
from commoncanvas.catalog.storage import FOLDER, Storage

PLACE = f"{FOLDER}/imports"
_RETRIES = 50


@dataclass(frozen=True)
class ImportRecord:
    """What the last import of one input found in it.

    `rows` could be used, of which `refused` had been taken down before; `skipped` counts the others by reason.
    """

    source: str
    rows: int
    refused: int
    skipped: dict[str, int]
    date: str
    """ISO 8601, UTC."""


_FIELDS = tuple(field.name for field in fields(ImportRecord))


def fingerprint(*said: object) -> str:
    """Tells one input from another without saying which it is: a path may be somebody's name."""
    return hashlib.sha256(json.dumps(said, default=str).encode()).hexdigest()[:24]


def record_import(
    uri: str,
    storage_options: dict[str, str] | None,
    input: str,
    source: str,
    rows: int,
    refused: int,
    skipped: dict[str, int],
) -> None:
    """Keep what an import of `input` (a `fingerprint`) found, in place of what earlier ones did.

    Raises CatalogError.
    """
    storage = Storage(uri, storage_options)
    record = ImportRecord(source, rows, refused, skipped, datetime.now(UTC).isoformat())
    with explaining(f"catalog {uri}: what was skipped can't be recorded"):
        # A name of its own each time, so that imports at once don't get in each other's way.
        storage.write(f"{PLACE}/{input}-{uuid.uuid4()}.json", json.dumps(asdict(record)).encode())
        for path in _superseded(_read(storage)):
            storage.delete(path)


def import_records(uri: str, storage_options: dict[str, str] | None = None) -> list[ImportRecord]:
    """The newest record of each input, oldest first. Raises CatalogError."""
    with explaining(f"catalog {uri}: records of its imports can't be read"):
        found = _read(Storage(uri, storage_options))
    for path in _superseded(found):
        del found[path]
    return sorted(found.values(), key=lambda record: (record.date, record.source))


def _read(storage: Storage) -> dict[str, ImportRecord]:
    """Path -> record, of every file there is."""
    for _ in range(_RETRIES):
        paths = [path for path in storage.files(PLACE) if path.endswith(".json")]
        texts = [b"".join(storage.chunks(path)) for path in paths]
        if all(texts):  # else one was superseded meanwhile, and its successor may be missing here
            break
    read = {path: json.loads(text) for path, text in zip(paths, texts, strict=True) if text}
    return {path: ImportRecord(**{name: said[name] for name in _FIELDS}) for path, said in read.items()}


def _superseded(records: dict[str, ImportRecord]) -> list[str]:
    newest: dict[str, tuple[str, str]] = {}
    for path, record in records.items():
        input = _input(path)
        newest[input] = max(newest.get(input, ("", "")), (record.date, path))
    return [path for path in records if newest[_input(path)][1] != path]


def _input(path: str) -> str:
    return path.rpartition("/")[2].partition("-")[0]
