"""`commoncanvas catalog search` and `commoncanvas catalog index`."""

from __future__ import annotations

from commoncanvas.cli.shared import Json, Uri, show


def search(
    *words: str,
    catalog: Uri,
    license: str = "",
    creator: str = "",
    country: str = "",
    from_year: int | None = None,
    to_year: int | None = None,
    image: str | None = None,
    limit: int = 20,
    json_: Json = False,
) -> None:
    """Find images by words in their titles, descriptions, tags, captions and creators' names; prints their credits.

    Args:
        words: each must be there, in any of these texts.
        license: licence as the catalog has it, such as CC-BY-4.0.
        creator: creator's name or address as the catalog has it.
        country: code of the country where an image was taken, such as FR.
        from_year: first year in which an image was taken.
        to_year: last year.
        image: image file; finds those that look like it.
        limit: most images to print.
    """
    from commoncanvas.catalog import search as run

    found = run(
        catalog,
        " ".join(words),
        license=license,
        creator=creator,
        country=country,
        from_year=from_year,
        to_year=to_year,
        image=image,
        limit=limit,
    )
    show(found, json_)


def index(*, catalog: Uri, json_: Json = False) -> None:
    """Make the indexes that make searches fast, or add the rows that came since. A killed run goes on."""
    from commoncanvas.catalog import index as run

    show(run(catalog), json_)
