"""Sources whose records have usual column names, or names that the user maps."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from commoncanvas import licenses
from commoncanvas.catalog.importing.sources import fields
from commoncanvas.catalog.importing.sources.base_row import RawFields, Row, base_row
from commoncanvas.catalog.importing.sources.countries import stated
from commoncanvas.catalog.importing.sources.inputs import sizes
from commoncanvas.catalog.importing.sources.rights import read_license
from commoncanvas.catalog.importing.sources.source import RowSource, SourceOptions
from commoncanvas.table.report import Report
from commoncanvas.table.schema import COUNTRY


class DescribedSource(RowSource):
    """A source with the user's options for records: a licence and a creator for those that state none, the column with
    human text, and the column with countries. Raises LicenseError if the licence is unknown.
    """

    def __init__(self, options: SourceOptions) -> None:
        self.license = licenses.require(options.license, where="--license") if options.license else None
        self.creator = options.creator
        self.label_column = options.label_column
        self.country = options.columns.get("country")
        self.columns = (COUNTRY,) if self.country else ()

    def described(
        self,
        source_id: str,
        where: str,
        record: Mapping[str, Any],
        report: Report,
        columns: Mapping[str, str] = MappingProxyType({}),
    ) -> Row | None:
        """`base_row` for a record with any usual column names (`fields.ALIASES`); None if it was skipped.

        `columns` maps catalog names to the record's names if these are unusual. Exports contain image ids and file
        digests: a record with those of an image that was taken down is skipped.
        """
        names = {name: fields.normalise(str(name)) for name in record}
        if len(set(names.values())) < len(names) and (pair := fields.clash(map(str, record))):
            report.skip(where, "duplicate field name", f"{pair[0]!r} and {pair[1]!r}")
            return None
        values: dict[str, Any] = {names[name]: value for name, value in record.items()}
        image_id, digest = (fields.text(values.get(name)) for name in ("image_id", "sha256"))
        if image_id in report.taken_down.image_ids or digest in report.taken_down.sha256s:
            report.skip(
                where, "taken down", f"exported as {image_id}" if image_id else "the same file was taken down"
            )
            return None
        for column, name in columns.items():
            values.update(dict.fromkeys(fields.ALIASES[column]))
            values[fields.ALIASES[column][0]] = record.get(name)
        known = fields.known(values)
        mapped = (columns.get("license"), columns.get("license_url"))
        found = read_license(
            where,
            {name: value for name, value in record.items() if names[name] in fields.RIGHTS or name in mapped},
            report,
            notices={name: value for name, value in record.items() if names[name] in fields.NOTICES},
            version=known["license_version"],
            default=self.license,
        )
        if found is None:
            return None
        return base_row(
            self.name,
            source_id,
            where,
            found,
            RawFields(
                creator=known["creator"] or self.creator,
                creator_url=fields.url(values, "creator_url") or known["creator_url"],
                page_url=fields.url(values, "page_url") or known["page_url"],
                label=record.get(self.label_column) if self.label_column else known["label"],
                **{name: known[name] for name in ("title", "description", "tags", "taken_at", "uploaded_at")},
            ),
            report,
        )

    def measures(self, where: str, record: Mapping[str, Any], report: Report) -> Row:
        """The size of the original that a record states, and its country if the user named that column."""
        return {**sizes(record), **stated(record, self.country, where, report)}
