"""Records of what imports left out, stored beside the tombstones: counts and reasons, but no rows and no names."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime

from commoncanvas.table.lance_errors import explaining
from commoncanvas.table.storage import FOLDER, Storage

PLACE = f"{FOLDER}/imports"


@dataclass(frozen=True)
class ImportRecord:
    """What the last import of one input found.

    `rows` could be used; `refused` of them were taken down before. `skipped` counts the other rows by reason.
    """

    source: str
    rows: int
    refused: int
    skipped: dict[str, int]
    date: str
    """ISO 8601, UTC."""


_FIELDS = tuple(field.name for field in fields(ImportRecord))


def fingerprint(*parts: object) -> str:
    """A hash that identifies an input. Paths are hashed because they may contain a person's name."""
    return hashlib.sha256(json.dumps(parts, default=str).encode()).hexdigest()[:24]


def record_import(
    uri: str,
    storage_options: dict[str, str] | None,
    input: str,
    source: str,
    rows: int,
    refused: int,
    skipped: dict[str, int],
) -> None:
    """Record what an import of `input` (a `fingerprint`) found; it replaces the record of an earlier import.

    Raises CatalogError.
    """
    record = ImportRecord(source, rows, refused, skipped, datetime.now(UTC).isoformat())
    with explaining(f"catalog {uri}: the skipped rows can't be recorded"):
        # One file per input, replaced as a whole: a reader sees the old record or the new one.
        Storage(uri, storage_options).write(f"{PLACE}/{input}.json", json.dumps(asdict(record)).encode())


def import_records(uri: str, storage_options: dict[str, str] | None = None) -> list[ImportRecord]:
    """The record of each input, oldest first. Raises CatalogError."""
    storage = Storage(uri, storage_options)
    with explaining(f"catalog {uri}: records of its imports can't be read"):
        records = [json.loads(storage.read(path)) for path in storage.files(PLACE) if path.endswith(".json")]
    found = [ImportRecord(**{name: record[name] for name in _FIELDS}) for record in records]
    return sorted(found, key=lambda record: (record.date, record.source))
