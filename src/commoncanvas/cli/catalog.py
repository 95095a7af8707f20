"""`commoncanvas catalog ...`: one thin function a command."""

from __future__ import annotations

from typing import Annotated, Literal

from cyclopts import App, Parameter

from commoncanvas.cli.shared import EngineName, Json, Uri, Workers, show
from commoncanvas.core.console import say
from commoncanvas.core.errors import CatalogError, NothingImportedError, SourceError
from commoncanvas.core.text import counted

app = App(name="catalog", help="The table of images: where each came from, who made it, under which licence.")


@app.command(name="import")
def catalog_import(
    source: str,
    /,
    *paths: str,
    catalog: Uri,
    metadata: str | None = None,
    license: str | None = None,
    creator: str | None = None,
    name: str | None = None,
    label_column: str | None = None,
    id_column: str | None = None,
    policy: Literal["commercial", "noncommercial"] | None = None,
    column: tuple[str, ...] = (),
    size: int | None = None,
    follow_links: Annotated[bool, Parameter(negative="")] = False,
    allow_lookalikes: Annotated[bool, Parameter(negative="")] = False,
    allow_namesakes: Annotated[bool, Parameter(negative="")] = False,
    json_: Json = False,
) -> None:
    """Import rows from a source: openmoji, folder, yfcc100m, commoncatalog, img2dataset, openverse, wikimedia,
    openimages, huggingface or table, each from the PATHS of its files. What brings no image along waits for fetch.

    Args:
        metadata: CSV, JSONL or Parquet file with one row an image (folder); default: PATH/metadata.*, or sidecars.
        license: licence of every image that has none of its own (folder).
        creator: creator of every image that has none of its own (folder).
        name: the collection's name in its rows' ids; default: the folder's (folder).
        label_column: metadata column with human text to train on (folder).
        id_column: column that tells rows apart (huggingface, table); default: one called id or key, else a digest of
            the image's address, else of the image.
        policy: leave out rows whose licence it doesn't allow (yfcc100m).
        column: what the catalog calls a column and what the input does, as image=img (table, huggingface),
            file=Datei (folder), or country=NAME (img2dataset too); say --column again for each.
        size: pixels of the longest side of images that come along (commoncatalog, img2dataset, huggingface).
        follow_links: take images that symbolic links out of the folder lead to (folder).
        allow_lookalikes: store images that come along though they look like ones that were taken down.
        allow_namesakes: let in rows whose creator may be one who was taken down, after you looked at those listed.
    """
    from commoncanvas.catalog import import_

    try:
        report = import_(
            source,
            catalog,
            path=paths,
            metadata=metadata,
            license=license,
            creator=creator,
            name=name,
            label_column=label_column,
            id_column=id_column,
            policy=policy,
            columns=_pairs(column),
            size=size,
            follow_links=follow_links,
            allow_lookalikes=allow_lookalikes,
            allow_namesakes=allow_namesakes,
        )
    except NothingImportedError as nothing:
        show(nothing.report, json_)
        raise
    show(report, json_)


@app.command
def fetch(
    *,
    catalog: Uri,
    size: int = 512,
    side: Literal["longest", "shortest"] = "longest",
    format: Literal["jpeg", "png", "webp"] = "jpeg",
    quality: int = 95,
    retry: str = "",
    where: str | None = None,
    workers: int | None = None,
    animated: Literal["first", "refuse"] = "first",
    allow_private: Annotated[bool, Parameter(negative="")] = False,
    connections: int = 32,
    per_host: int = 16,
    retries: int = 2,
    contact: str | None = None,
    engine: EngineName = "local",
    allow_lookalikes: Annotated[bool, Parameter(negative="")] = False,
    json_: Json = False,
) -> None:
    """Fetch the images of rows that have none yet, resize them, and keep a status in every row.

    Args:
        size: pixels of the longest (or shortest) side; raster images are never enlarged.
        retry: statuses to try again, comma-separated (`failed`: all but ok and what was taken down).
        where: SQL condition on the rows.
        workers: processes that decode, or with ray workers of one CPU each; default: all processors.
        animated: store the first frame of an animated image, or refuse it.
        allow_private: let URLs lead into private networks and to this machine: for a server of your own.
        connections: downloads at once, of all workers together.
        per_host: downloads at once from one host, of all workers together.
        retries: how often to ask again after a time-out, a lost connection, HTTP 429 or 503.
        contact: mail address or URL that servers are told, so that their owners can reach you.
        allow_lookalikes: fetch and store images that were held back because they look like ones that were taken down.
    """
    from commoncanvas.catalog import fetch as run

    statuses = tuple(status for status in retry.split(",") if status)
    report = run(
        catalog,
        size=size,
        side=side,
        format=format,
        quality=quality,
        retry=statuses,
        where=where,
        workers=workers,
        animated=animated,
        allow_private=allow_private,
        connections=connections,
        per_host=per_host,
        retries=retries,
        contact=contact,
        engine=engine,
        allow_lookalikes=allow_lookalikes,
    )
    show(report, json_)
    if report.failure:
        raise CatalogError(report.failure)


@app.command
def stats(
    *, catalog: Uri, where: str | None = None, html: str | None = None, seed: int = 0, json_: Json = False
) -> None:
    """Count what is in the catalog: C and NC side by side, licences, sizes, years, countries, people, what was dropped.

    Args:
        where: SQL condition on the rows.
        html: also write a page with plots and a random sheet of thumbnails, one file.
        seed: draws the thumbnails.
    """
    if html is None:
        from commoncanvas.catalog import stats as run

        found = run(catalog, where=where)
    else:
        from commoncanvas.pages.stats_page import write_stats_page

        found = write_stats_page(catalog, html, where=where, seed=seed)
        say(f"page written to {html}")
    show(found, json_)


@app.command(name="show")
def catalog_show(
    *,
    catalog: Uri,
    where: str | None = None,
    columns: str | None = None,
    limit: int = 50,
    html: str | None = None,
    json_: Json = False,
) -> None:
    """Show rows: what they say, their fetch status and error, and below a duplicate the row that it copies.

    Args:
        where: SQL condition on the rows, or the name of a saved filter.
        columns: comma-separated; default: title,creator,license,fetch_status,fetch_error.
        limit: rows at most.
        html: also write a page with thumbnails, one file.
    """
    from commoncanvas.catalog.show.command import COLUMNS
    from commoncanvas.catalog.show.command import show as run

    chosen = tuple(name.strip() for name in columns.split(",") if name.strip()) if columns else COLUMNS
    found = run(catalog, where=where, columns=chosen, limit=limit)
    if html is not None:
        from commoncanvas.pages.rows_page import write_rows_page

        write_rows_page(found, html)
        say(f"page written to {html}")
    show(found, json_)


@app.command
def curate(
    *,
    catalog: Uri,
    policy: Literal["commercial", "noncommercial"] = "noncommercial",
    min_side: int | None = None,
    max_aspect: float | None = None,
    min_sharpness: float | None = None,
    nsfw_max: float | None = None,
    deduplicate: bool = False,
    distance: int = 6,
    where: str | None = None,
    name: str | None = None,
    engine: EngineName = "local",
    workers: Workers = None,
    json_: Json = False,
) -> None:
    """Choose the rows to train on, as a filter that can be saved; nothing is deleted. What each step drops is said.

    Args:
        min_side: pixels of the original's short side, at least.
        max_aspect: long side over short, at most.
        min_sharpness: variance of the Laplacian, at least.
        nsfw_max: open_nsfw's probability, at most; needs the extra [nsfw].
        deduplicate: keep one of the same file or picture: the most permissive licence, then the largest.
        distance: bits in which the perceptual hashes of one picture may differ.
        where: SQL condition on the rows.
        name: save the filter under this name, and tag the table's version with it.
    """
    from commoncanvas.catalog import curate as run

    report = run(
        catalog,
        policy=policy,
        min_side=min_side,
        max_aspect=max_aspect,
        min_sharpness=min_sharpness,
        nsfw_max=nsfw_max,
        deduplicate=deduplicate,
        distance=distance,
        where=where,
        name=name,
        engine=engine,
        workers=workers,
    )
    show(report, json_)


@app.command
def lookup(
    what: str | None = None,
    /,
    *,
    catalog: Uri,
    creator: str | None = None,
    limit: int = 20,
    json_: Json = False,
) -> None:
    """Who made this? WHAT is a file, an image_id, or the URL of a page or image; resized or cropped files are found.

    Args:
        creator: only images by this creator; alone: all of them.
        limit: matches to print at most.
    """
    from commoncanvas.catalog import lookup as run

    show(run(catalog, what, creator=creator, limit=limit), json_)


@app.command
def credits(
    *,
    catalog: Uri,
    format: Literal["text", "csv", "html", "json"] = "text",
    where: str | None = None,
    out: str | None = None,
) -> None:
    """Credit every image: title, creator, source, licence, and that it was resized.

    Args:
        where: SQL condition on the rows, or the name of a saved filter.
        out: file to write; default: stdout.
    """
    from commoncanvas.catalog import credits as run

    rows = run(catalog, where=where, format=format, out=out)
    if out:
        say(f"{counted(rows, 'credits')} written to {out}")


@app.command
def export(
    format: Literal["webdataset", "parquet", "huggingface"],
    /,
    *,
    catalog: Uri,
    out: str,
    where: str | None = None,
    version: str | None = None,
    shard_size: str = "1GB",
    json_: Json = False,
) -> None:
    """Write images with their provenance for other tools, with a data card and every credit.

    Args:
        format: webdataset (tars), parquet, or huggingface (Parquet, ready for the hub).
        out: folder; killed and run again, the export goes on there.
        where: SQL condition on the rows, or the name of a saved filter.
        version: a version of the catalog, or a tag; default: the newest.
        shard_size: of images in a shard (500MB), or rows (10000).
    """
    from commoncanvas.catalog import export as run

    chosen = int(version) if version and version.isdecimal() else version
    report = run(format, catalog, out, where=where, version=chosen, shard_size=shard_size)
    show(report, json_)


@app.command
def takedown(
    *,
    catalog: Uri,
    id: tuple[str, ...] = (),
    creator: str | None = None,
    url: tuple[str, ...] = (),
    list_: Annotated[str | None, Parameter(name="--list")] = None,
    file: tuple[str, ...] = (),
    near: bool = False,
    reason: str | None = None,
    purge: bool = False,
    exclusive: bool = False,
    dry_run: bool = False,
    json_: Json = False,
) -> None:
    """Take images out of the catalog and keep them out; say which models' tags hold them.

    Args:
        id: image ids; may be given again and again.
        creator: a creator's name, address, or user id on the platform; their later images stay out too.
        url: of a page or an image.
        list_: text file of ids or URLs, one a line.
        file: image file as it was published.
        near: also rows that look like FILE.
        reason: kept with the tombstone.
        purge: also remove them from every file, old version and tag, and look that no byte is left.
        exclusive: nobody else is at work on the catalog: also remove what killed processes left behind.
        dry_run: only show what would go.
    """
    from commoncanvas.catalog import takedown as run

    report = run(
        catalog,
        id=id,
        creator=creator,
        url=url,
        list_file=list_,
        file=file,
        near=near,
        reason=reason,
        purge=purge,
        exclusive=exclusive,
        dry_run=dry_run,
    )
    show(report, json_)


def _pairs(words: tuple[str, ...]) -> dict[str, str]:
    """`image=img` -> {image: img}. Raises SourceError."""
    for word in words:
        if not all(word.partition("=")):
            raise SourceError(f"--column {word}: say it as image=img, the catalog's name first")
    names = [word.partition("=")[0] for word in words]
    if twice := next((name for name in names if names.count(name) > 1), None):
        more = "; a second column that speaks of rights may be license_url" if twice == "license" else ""
        raise SourceError(f"--column {twice}= is given twice, and one column can have that name{more}")
    return {name: given for name, _, given in (word.partition("=") for word in words)}
