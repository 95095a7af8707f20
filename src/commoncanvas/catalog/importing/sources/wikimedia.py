"""Wikimedia Commons: API responses to `prop=imageinfo` with `iiprop=url|timestamp|size|mime|extmetadata`.

Both format versions are read, as JSON or as one response per line. Fields of `extmetadata`:
https://www.mediawiki.org/wiki/Extension:CommonsMetadata
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from commoncanvas.catalog.importing.sources import fields
from commoncanvas.catalog.importing.sources.base_row import RawFields, base_row, web_address
from commoncanvas.catalog.importing.sources.countries import PLACE
from commoncanvas.catalog.importing.sources.documents import SUFFIXES, documents
from commoncanvas.catalog.importing.sources.inputs import input_files, sizes, whole
from commoncanvas.catalog.importing.sources.rights import read_license
from commoncanvas.catalog.importing.sources.source import RowSource, SourceOptions
from commoncanvas.readers.markup import plain
from commoncanvas.readers.record import Record
from commoncanvas.table.report import Report
from commoncanvas.table.schema import COUNTRY

SITE = "https://commons.wikimedia.org/"

_LICENSE_FIELDS = ("LicenseShortName", "License", "LicenseUrl", "UsageTerms")


class Wikimedia(RowSource):
    """Rows `wikimedia:<page id>`; the id stays the same when a file is renamed.

    The creator is the author that Commons names, never the uploader, who is often another person. Files that Commons
    marks as non-free or nominated for deletion are skipped. Coordinates are read only to find the country, and are not
    stored.
    """

    name = "wikimedia"
    columns = (COUNTRY,)

    def __init__(self, options: SourceOptions) -> None:
        options.only(self.name, "paths")
        self.files = input_files(options, self.name, SUFFIXES)

    def rows(self, report: Report) -> Iterator[dict[str, Any]]:
        for path in self.files:
            for where, answer in documents(path, report):
                for place, page in _pages(where, answer, report):
                    row = self._row(place, page, report)
                    if row is not None:
                        yield row

    def _row(self, where: str, page: Mapping[str, Any], report: Report) -> dict[str, Any] | None:
        info = _first(page.get("imageinfo"))
        if info is None:
            report.skip(where, "no image info", "the page is missing, or another response has its imageinfo")
            return None
        url = web_address(info.get("url"))
        if url is None:
            report.skip(where, "no image address", f"field url: {str(info.get('url'))[:60]!r}")
            return None
        number = whole(page.get("pageid"))
        if number is None or "/wikipedia/commons/" not in url:
            report.skip(
                where, "not from Commons", "other wikis have other page ids; query commons.wikimedia.org"
            )
            return None
        mime = fields.text(info.get("mime")) or "image/"
        if not mime.startswith("image/"):
            report.skip(where, "not an image", mime)
            return None
        if _is_true(info, "NonFree"):
            report.skip(where, "not free", "Commons marks it as non-free")
            return None
        if reason := _text(info, "DeletionReason"):
            report.skip(where, "nominated for deletion", " ".join(reason.split())[:100])
            return None
        raw = _raw_fields(page, info, url)
        if raw.creator is None and _is_true(info, "AttributionRequired"):
            report.skip(where, "no creator", "AttributionRequired is true, but field Artist is empty")
            return None
        given = {name: _text(info, name) for name in _LICENSE_FIELDS}
        license = read_license(where, given, report, source="wikimedia")
        if license is None:
            return None
        row = base_row(self.name, str(number), where, license, raw, report)
        place = _text(info, "GPSLongitude"), _text(info, "GPSLatitude")
        return row and {**row, **sizes(info, prefix=""), PLACE: place}


def _pages(where: str, answer: Mapping[str, Any], report: Report) -> Iterator[Record]:
    """Pages of a response: a list in format version 2, an object with page ids as keys in version 1."""
    if isinstance(error := answer.get("error"), dict):
        report.skip(where, "error response", str(error.get("info"))[:100])
        return
    query = answer.get("query")
    pages = query.get("pages") if isinstance(query, dict) else None
    if isinstance(pages, dict):
        pages = list(pages.values())
    if not isinstance(pages, list):
        report.skip(where, "no pages", "a response to action=query with prop=imageinfo must have query.pages")
        return
    for number, page in enumerate(pages, 1):
        if isinstance(page, dict):
            yield f"{where} page {page.get('title') or number}"[:200], page
        else:
            report.skip(f"{where} page {number}", "malformed JSON", "expected an object")


def _raw_fields(page: Mapping[str, Any], info: Mapping[str, Any], url: str) -> RawFields:
    creator, creator_url = plain(_html(info, "Artist"), SITE)
    if creator is None:
        # The credit that the licence template asks for.
        creator, creator_url = plain(_html(info, "Attribution"), SITE)
    name = re.sub(r"^[^:]*:|\.\w+$", "", fields.text(page.get("title")) or "")
    return RawFields(
        creator=creator and " ".join(creator.split()),
        creator_url=creator_url,
        title=_text(info, "ObjectName") or name,
        description=_text(info, "ImageDescription"),
        page_url=info.get("descriptionurl") or f"{SITE}?curid={page.get('pageid')}",
        image_url=url,
        taken_at=_date(info),
        uploaded_at=info.get("timestamp"),
    )


def _date(info: Mapping[str, Any]) -> str | None:
    """The machine-readable date in the HTML if there is one, else the visible text."""
    machine = re.search(r'datetime="([^"]+)"', _html(info, "DateTimeOriginal"))
    return machine[1] if machine else _text(info, "DateTimeOriginal")


def _text(info: Mapping[str, Any], name: str) -> str | None:
    return plain(_html(info, name), SITE)[0]


def _is_true(info: Mapping[str, Any], name: str) -> bool:
    return str(_value(info, name) or "").strip().lower() not in ("", "false", "no", "0")


def _html(info: Mapping[str, Any], name: str) -> str:
    return fields.text(_value(info, name)) or ""


def _value(info: Mapping[str, Any], name: str) -> Any:
    """The value of one field of `extmetadata`; of several languages English, else the first."""
    more = info.get("extmetadata")
    field = more.get(name) if isinstance(more, dict) else None
    value = field.get("value") if isinstance(field, dict) else None
    if isinstance(value, dict):
        value = value.get("en") or next(
            (text for key, text in value.items() if not key.startswith("_")), None
        )
    return value


def _first(value: Any) -> dict[str, Any] | None:
    return value[0] if isinstance(value, list) and value and isinstance(value[0], dict) else None
