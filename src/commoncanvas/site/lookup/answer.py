"""The answer to a look-up: what each catalog knows, which models saw it, and what a picture's file says of itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from commoncanvas.catalog.lookup.command import LookupReport, Match, lookup
from commoncanvas.catalog.lookup.picture import Picture
from commoncanvas.catalog.lookup.removed import removed
from commoncanvas.core.errors import CatalogError
from commoncanvas.core.text import visible
from commoncanvas.site.lookup.origin import origin_of
from commoncanvas.site.parts import Site
from commoncanvas.site.shown import shown
from commoncanvas.site.which_models import which_models
from commoncanvas.table.table import Catalog

HOW = {
    "exact": "The same file",
    "same picture": "The same picture, saved again: perhaps resized, or slightly cropped",
    "same picture, mirrored": "The same picture, mirrored",
    "id": "This image id",
    "url": "This address",
    "creator": "By this creator",
}
Begin = Callable[[Catalog], Any]
"""Called before a catalog is searched."""


class PictureError(Exception):
    """The picture can't be decoded; the message says why. Other errors are the server's, and name its places."""


def of_picture(site: Site, data: bytes, begin: Begin) -> dict[str, Any]:
    """The answer for the bytes of an image file. Raises PictureError."""
    picture = Picture(data)
    try:
        picture.pixels  # noqa: B018 (it is decoded here)
    except CatalogError as error:
        raise PictureError(str(error)) from error
    found = _answer(site, picture, begin, lambda catalog: lookup(catalog, picture))
    return found | {"asked": None, "origin": origin_of(data, site)}


def of_text(site: Site, text: str, begin: Begin) -> dict[str, Any]:
    """The answer for an address, an image id or a creator."""

    def search(catalog: Catalog) -> LookupReport:
        by_place = lookup(catalog, text, files=False)
        return by_place if by_place.matches else lookup(catalog, creator=text)

    return _answer(site, text, begin, search) | {"asked": visible(text), "origin": None}


def _answer(
    site: Site, what: Picture | str, begin: Begin, search: Callable[[Catalog], LookupReport]
) -> dict[str, Any]:
    catalogs, gone = [], None
    for name, served in site.catalogs.items():
        # The newest version: what was taken down since the start is not shown.
        catalog = Catalog.open(served.uri, storage_options=served.storage_options)
        begin(catalog)
        report = search(catalog)
        gone = gone or (None if report.matches else removed(catalog, what))
        catalogs.append({"name": name, "total": report.total, "matches": _matches(site, name, report)})
    return {
        "found": sum(each["total"] for each in catalogs),
        "removed": gone,
        "catalogs": catalogs,
    }


def _matches(site: Site, name: str, report: LookupReport) -> list[dict[str, Any]]:
    ids = [match.credit.image_id for match in report.matches]
    saw = which_models(site, name, ids) if ids else {}
    return [
        shown(
            name,
            match.credit,
            how=match.how,
            found=HOW[match.how],
            nearness=_nearness(match),
            models=[vars(sight) for sight in saw[match.credit.image_id]],
        )
        for match in report.matches
    ]


def _nearness(match: Match) -> str:
    """How near a picture is, in numbers; empty if it was not compared."""
    if match.distance is None:
        return ""
    return (
        f"{match.distance} of {match.bits} compared bits of its hash differ; "
        f"the pixels differ by {match.difference:.1f} levels of 255 on average"
    )
