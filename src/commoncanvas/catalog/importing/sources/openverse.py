"""Openverse: responses of its API as JSON, or the image table of its catalog as CSV, TSV or Parquet.

Field names: https://api.openverse.org/v1/ (schema `Image`). In the catalog's table `image` the id is called
`identifier`, and `meta_data` has more fields.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from commoncanvas.catalog.importing.sources import fields
from commoncanvas.catalog.importing.sources.base_row import RawFields, base_row, web_address
from commoncanvas.catalog.importing.sources.documents import SUFFIXES, documents
from commoncanvas.catalog.importing.sources.inputs import input_files, sizes
from commoncanvas.catalog.importing.sources.records import check_metadata, read_records
from commoncanvas.catalog.importing.sources.rights import read_license
from commoncanvas.catalog.importing.sources.source import RowSource, SourceOptions
from commoncanvas.core.errors import SourceError
from commoncanvas.readers.record import Record
from commoncanvas.table.report import Report

TABLES = (".csv", ".tsv", ".parquet")
_NULLS = ("", "\\N")  # the second is PostgreSQL's


class Openverse(RowSource):
    """Rows `openverse:<Openverse's id>`. The credit links to the provider's page, not to Openverse."""

    name = "openverse"

    def __init__(self, options: SourceOptions) -> None:
        options.only(self.name, "paths")
        self.files = input_files(options, self.name, (*SUFFIXES, *TABLES))
        for path in self.files:
            if path.suffix.lower() in TABLES:
                _check_table(path)

    def rows(self, report: Report) -> Iterator[dict[str, Any]]:
        for path in self.files:
            for where, record in self._records(path, report):
                row = self._row(where, record, report)
                if row is not None:
                    yield row

    def _records(self, path: Path, report: Report) -> Iterator[Record]:
        if path.suffix.lower() in TABLES:
            for where, record in read_records(path, report):
                yield where, {name: None if value in _NULLS else value for name, value in record.items()}
            return
        for where, document in documents(path, report):
            if "id" in document or "identifier" in document:
                yield where, document
            elif not isinstance(results := document.get("results"), list):
                report.skip(where, "no results", f"field detail: {str(document.get('detail'))[:100]}")
            else:
                for number, result in enumerate(results, 1):
                    if isinstance(result, dict):
                        yield f"{where} result {number}", result
                    else:
                        report.skip(f"{where} result {number}", "malformed JSON", "expected an object")

    def _row(self, where: str, record: Mapping[str, Any], report: Report) -> dict[str, Any] | None:
        source_id = _id(record)
        if source_id is None:
            report.skip(where, "no id", "id, identifier and foreign_identifier are empty")
            return None
        if str(record.get("removed_from_source")).lower() in ("t", "true", "1"):
            report.skip(where, "removed at its source", source_id)
            return None
        image_url = record.get("url") or record.get("image_url")
        if web_address(image_url) is None:
            report.skip(where, "no image address", f"field url: {str(image_url)[:60]!r}")
            return None
        more = _json(record.get("meta_data"), dict) or {}
        license = read_license(
            where,
            {
                "license": record.get("license"),
                "license_url": record.get("license_url"),
                "meta_data.license_url": more.get("license_url"),
            },
            report,
            version=record.get("license_version"),
        )
        if license is None:
            return None
        raw = RawFields(
            creator=record.get("creator"),
            creator_url=record.get("creator_url"),
            title=record.get("title"),
            description=more.get("description"),
            page_url=record.get("foreign_landing_url"),
            image_url=image_url,
            tags=_tags(record.get("tags")),
            taken_at=more.get("date_taken"),
        )
        row = base_row(self.name, source_id, where, license, raw, report)
        return row and {**row, **sizes(record, prefix="")}


def _check_table(path: Path) -> None:
    columns = set(check_metadata(path) or ())
    if not columns & {"id", "identifier", "foreign_identifier"} or not {"license", "creator"} <= columns:
        raise SourceError(
            f"{path} is not a table of Openverse: its first line must name the columns identifier (or id, or "
            "foreign_identifier), url, license, license_version and creator"
        )


def _id(record: Mapping[str, Any]) -> str | None:
    """Openverse's id. A provider's file doesn't have it yet, so there it is the provider's id."""
    own = fields.text(record.get("id")) or fields.text(record.get("identifier"))
    if own is not None:
        return own.lower() if re.fullmatch(r"[0-9A-Fa-f-]{36}", own) else own
    foreign, provider = fields.text(record.get("foreign_identifier")), fields.text(record.get("provider"))
    return f"{provider}/{foreign}" if foreign and provider else None


def _tags(value: Any) -> list[str] | None:
    """Tags by people only; tags with an `accuracy` come from a model."""
    listed = _json(value, list)
    if listed is None:
        return fields.tag_list(value) if isinstance(value, str) else None
    named = [
        tag.get("name") if isinstance(tag, dict) else tag
        for tag in listed
        if not isinstance(tag, dict) or tag.get("accuracy") is None
    ]
    return fields.tag_list(named)


def _json(value: Any, kind: type) -> Any:
    """A dict or list, which a table's cell may hold as JSON text; None for anything else."""
    if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return None
    return value if isinstance(value, kind) else None
