"""What imports left out: a small record of each, kept beside the tombstones. Counts and reasons; no rows, no names."""

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
    record = ImportRecord(source, rows, refused, skipped, datetime.now(UTC).isoformat())
    with explaining(f"catalog {uri}: what was skipped can't be recorded"):
        # One file an input, replaced whole: whoever reads it meanwhile finds the one before, or this one.
        Storage(uri, storage_options).write(f"{PLACE}/{input}.json", json.dumps(asdict(record)).encode())


def import_records(uri: str, storage_options: dict[str, str] | None = None) -> list[ImportRecord]:
    """The record of each input, oldest first. Raises CatalogError."""
    storage = Storage(uri, storage_options)
    with explaining(f"catalog {uri}: records of its imports can't be read"):
        said = [json.loads(storage.read(path)) for path in storage.files(PLACE) if path.endswith(".json")]
    found = [ImportRecord(**{name: record[name] for name in _FIELDS}) for record in said]
    return sorted(found, key=lambda record: (record.date, record.source))
