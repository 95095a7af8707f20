"""`commoncanvas catalog ...`: one thin function for each command."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from cyclopts import App, Parameter

from commoncanvas.cli.shared import EngineName, Json, PolicyName, Uri, Where, Workers, names, show
from commoncanvas.core.console import say
from commoncanvas.core.errors import CatalogError, NothingImportedError, SourceError
from commoncanvas.core.text import counted
from commoncanvas.options.fetch import DEFAULTS, FetchOptions

app = App(name="catalog", help="The table of images, with the source, creator and licence of each.")


_COMMAND_LINE = re.compile("^(?!(timeout_s|idle_s|connect_s|max_bytes|max_pixels|buffer_bytes)$)")
"""The fields of FetchOptions that are options; the others can be set in Python only."""


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
    policy: PolicyName | None = None,
    column: tuple[str, ...] = (),
    size: int | None = None,
    follow_links: Annotated[bool, Parameter(negative="")] = False,
    allow_lookalikes: Annotated[bool, Parameter(negative="")] = False,
    allow_namesakes: Annotated[bool, Parameter(negative="")] = False,
    json_: Json = False,
) -> None:
    """Import rows from a source: openmoji, folder, yfcc100m, commoncatalog, img2dataset, openverse, wikimedia,
    openimages, huggingface or table. PATHS are its files. Sources without images need `catalog fetch` next.

    Args:
        source: kind of the input.
        paths: files or folders of the source.
        metadata: CSV, JSONL or Parquet file with one row per image (folder); default: PATH/metadata.*, or sidecars.
        license: licence of every image that states none (folder).
        creator: creator of every image that states none (folder).
        name: the collection's name in the ids of its rows; default: the folder's name (folder).
        label_column: metadata column with human text to train on (folder).
        id_column: column with unique ids (huggingface, table); default: id or key, else a digest of the URL or image.
        policy: import only rows whose licence it allows (yfcc100m).
        column: the catalog's name of a column, then the input's name, as image=img (table, huggingface),
            file=Datei (folder), or country=NAME (img2dataset too); repeat --column for each column.
        size: longest side of the stored images in pixels (commoncatalog, img2dataset, huggingface).
        follow_links: also import images behind symbolic links that lead out of the folder (folder).
        allow_lookalikes: store images in the source even if they look like images that were taken down.
        allow_namesakes: import rows whose creator may be a person who was taken down; check the listed rows first.
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
    options: Annotated[FetchOptions, Parameter(name="*", negative="", parse=_COMMAND_LINE)] = DEFAULTS,
    retry: str = "",
    where: str | None = None,
    engine: EngineName = "local",
    json_: Json = False,
) -> None:
    """Fetch the images of rows that have none yet, resize them, and write a status into every row.

    Args:
        retry: statuses to try again, comma-separated (`failed`: all except ok and taken-down rows).
        where: SQL condition on the rows.
    """
    from commoncanvas.catalog import fetch as run

    report = run(catalog, options, where=where, retry=names(retry), engine=engine)
    show(report, json_)
    if report.failure:
        raise CatalogError(report.failure)


@app.command
def stats(
    *, catalog: Uri, where: Where = None, html: str | None = None, seed: int = 0, json_: Json = False
) -> None:
    """Count the catalog's rows: commercial (C) and non-commercial (NC), licences, sizes, years, countries, creators,
    and dropped rows.

    Args:
        html: also write a page (one file) with plots and random thumbnails.
        seed: random seed that selects the thumbnails.
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
    where: Where = None,
    columns: str | None = None,
    limit: int = 50,
    html: str | None = None,
    json_: Json = False,
) -> None:
    """Show rows with their metadata, fetch status and error; under each duplicate, show the row that it copies.

    Args:
        columns: columns to show, comma-separated; default: title,creator,license,fetch_status,fetch_error.
        limit: most rows to show.
        html: also write a page (one file) with thumbnails.
    """
    from commoncanvas.catalog.show.command import COLUMNS
    from commoncanvas.catalog.show.command import show as run

    found = run(catalog, where=where, columns=names(columns) or COLUMNS, limit=limit)
    if html is not None:
        from commoncanvas.pages.rows_page import write_rows_page

        write_rows_page(found, html)
        say(f"page written to {html}")
    show(found, json_)


@app.command
def curate(
    *,
    catalog: Uri,
    policy: PolicyName = "noncommercial",
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
    """Choose the rows to train on, as a filter that you can save. Deletes nothing. Shows what each step drops.

    Args:
        policy: keep only licences that it allows.
        min_side: smallest short side of the original, in pixels.
        max_aspect: largest ratio of long side to short side.
        min_sharpness: smallest variance of the Laplacian.
        nsfw_max: largest probability that open_nsfw gives; needs the extra [nsfw].
        deduplicate: of copies, keep the image with the most permissive licence, then the largest.
        distance: most bits by which the perceptual hashes of two copies differ.
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
    """Find who made an image. WHAT is a file, an image_id, or the URL of a page or image. Finds resized and cropped
    copies too.

    Args:
        what: an id, a URL of a page or image, or an image file.
        creator: show only images by this creator; without WHAT: all of them.
        limit: most matches to print.
    """
    from commoncanvas.catalog import lookup as run

    show(run(catalog, what, creator=creator, limit=limit), json_)


@app.command
def credits(
    *,
    catalog: Uri,
    format: Literal["text", "csv", "html", "json"] = "text",
    where: Where = None,
    out: str | None = None,
) -> None:
    """Write the credit of every image: title, creator, source, licence, and that it was resized.

    Args:
        format: text, csv, html or json.
        out: file to write; default: stdout.
    """
    from commoncanvas.catalog import credits as run

    rows = run(catalog, where=where, format=format, out=out)
    if out:
        say(f"{counted(rows, 'credits')} written to {out}")


@app.command
def export(
    format: Literal["webdataset", "parquet", "huggingface", "links"],
    /,
    *,
    catalog: Uri,
    out: str,
    where: Where = None,
    version: str | None = None,
    shard_size: str = "1GB",
    json_: Json = False,
) -> None:
    """Write images with their provenance for other tools, with a data card and every credit.

    Args:
        format: webdataset (tar files), parquet, huggingface (Parquet for the hub), or links (Parquet without images).
        out: output folder; if the export was killed, run it again with this folder to continue.
        version: version number or tag of the catalog; default: the newest. For a saved filter's tag: the rows of that
            version, with the columns that were made since.
        shard_size: size of a shard, in bytes of images (500MB) or in rows (10000).
    """
    from commoncanvas.catalog import export as run

    chosen = int(version) if version and version.isdecimal() else version
    report = run(format, catalog, out, where=where, version=chosen, shard_size=shard_size)
    show(report, json_)


def _pairs(words: tuple[str, ...]) -> dict[str, str]:
    """`image=img` -> {image: img}. Raises SourceError."""
    for word in words:
        if not all(word.partition("=")):
            raise SourceError(f"--column {word}: write it as image=img, the catalog's name first")
    names = [word.partition("=")[0] for word in words]
    if twice := next((name for name in names if names.count(name) > 1), None):
        more = "; for a second column about rights, use license_url" if twice == "license" else ""
        raise SourceError(f"--column {twice}= is given twice; give it once{more}")
    return {name: given for name, _, given in (word.partition("=") for word in words)}
