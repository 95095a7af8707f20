"""The page *Catalog*: a search field, filters, and a wall of thumbnails; and what its script asks for."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar
from urllib.parse import urlencode

from anyio import CapacityLimiter, to_thread
from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from commoncanvas import licenses
from commoncanvas.catalog.searching.alike import hash_of
from commoncanvas.catalog.searching.command import advice, heading
from commoncanvas.catalog.searching.meaning import SentenceEncoder
from commoncanvas.catalog.searching.query import FIELDS, MOST_LETTERS, Query
from commoncanvas.catalog.searching.searcher import Page, Searcher
from commoncanvas.core.console import say
from commoncanvas.core.errors import (
    CatalogError,
    DecoderError,
    ImageError,
    MissingExtraError,
    ModelError,
    PlatformError,
)
from commoncanvas.core.text import one_line, visible
from commoncanvas.models.minilm import MiniLM
from commoncanvas.serving.errors import ERRORS
from commoncanvas.site.parts import Room, Site
from commoncanvas.site.search.pictures import add_pictures
from commoncanvas.site.shown import shown
from commoncanvas.table.newest import Newest
from commoncanvas.web.app import Pages, Section

T = TypeVar("T")

PAGE, PICTURE = "/catalog", "/search/picture"
PER_PAGE = 60
MOST_PER_PAGE = 240
SEARCHES = 4
"""At a time."""
PICTURE_BYTES = 20_000_000
REFUSED: dict[int | str, dict[str, Any]] = {status: ERRORS[status] for status in (400, 401, 404)}
ASKED = {
    "parameters": [
        {"name": name, "in": "query", "schema": {"type": "string"}}
        for name in ("catalog", *FIELDS, "start", "limit", "version")
    ]
}
FILE = {"requestBody": {"required": True, "content": {"application/octet-stream": {}}}}
FARTHEST = 2**53
"""Positions and versions are below: what JavaScript's numbers hold."""


def add(app: FastAPI, pages: Pages, site: Site) -> None:
    """Add the routes; says which indexes are missing."""
    encoder = _encoder()
    searchers = {name: Searcher(Newest(catalog), encoder) for name, catalog in site.catalogs.items()}
    for name, searcher in searchers.items():
        line = advice(site.catalogs[name])
        if line is not None:
            say(line)
        threading.Thread(target=_read_ahead, args=(searcher, line is None)).start()
    few = CapacityLimiter(SEARCHES)
    add_pictures(app, searchers)
    _add_page(app, pages, searchers, few)
    _add_search(app, searchers, few)


def _add_page(app: FastAPI, pages: Pages, searchers: Mapping[str, Searcher], few: CapacityLimiter) -> None:
    @app.get(PAGE, include_in_schema=False)
    async def page(request: Request) -> Response:
        given = request.query_params
        name, searcher = _named(searchers, given)
        values = await _threaded(searcher.values, few)
        found, problem = None, None
        try:
            query = await _parsed(given, searcher, few)
            start, version = _start(given), _number(given, "version")
        except CatalogError as error:
            problem = str(error)
        else:
            found = await _threaded(partial(searcher.page, query, start, PER_PAGE, version), few)
        fields = {key: one_line(given.get(key, ""), MOST_LETTERS) for key in FIELDS}
        return pages.page(
            "search.html.j2",
            200 if problem is None else 400,
            catalogs=list(searchers),
            catalog=name,
            meanings=await _threaded(lambda: any(each.has_meanings for each in searchers.values()), few),
            fields=fields,
            problem=problem and visible(problem),
            values=values,
            licenses=[(value, _license(value), count) for value, count in values.licenses.items()],
            found=found and _json(name, found),
            sentence=found and sentence(found),
            pager=_pager(name, query, found) if found else {},
        )


def _add_search(app: FastAPI, searchers: Mapping[str, Searcher], few: CapacityLimiter) -> None:
    @app.get("/search", responses=REFUSED, openapi_extra=ASKED)
    async def search(request: Request) -> Response:
        """A part of what a search finds, with credits, and how many images there are."""
        given = request.query_params
        name, searcher = _named(searchers, given)
        try:
            query = await _parsed(given, searcher, few)
            start, version = _start(given), _number(given, "version")
            limit = min(_number(given, "limit") or PER_PAGE, MOST_PER_PAGE)
        except CatalogError as error:
            raise HTTPException(400, str(error)) from error
        found = await _threaded(partial(searcher.page, query, start, limit, version), few)
        return JSONResponse(_json(name, found) | {"sentence": sentence(found)})

    @app.post(PICTURE, responses=REFUSED, openapi_extra=FILE)
    async def picture(request: Request) -> Response:
        """The perceptual hash of a picture, as `alike` of a search. The picture is not kept."""
        data = await request.body()
        try:
            found = await to_thread.run_sync(hash_of, data, limiter=few)
        except ImageError as error:
            raise HTTPException(400, f"this file can't be read as a picture: {error}") from error
        except (DecoderError, PlatformError) as error:
            raise HTTPException(503, "pictures can't be read now; try again") from error
        return JSONResponse({"alike": f"{found:016x}"})


def _read_ahead(searcher: Searcher, indexed: bool) -> None:
    """What the first visitor would wait for: the filters' values, the lists of words of the indexes, the encoder."""
    with suppress(CatalogError, ModelError):
        searcher.values()
        if indexed:
            searcher.page(Query("word"), 0, 1)
        if searcher.has_meanings:
            searcher.page(Query("word", by_meaning=True), 0, 1)


def _encoder() -> SentenceEncoder | None:
    try:
        return MiniLM()
    except MissingExtraError:
        return None


async def _parsed(given: Mapping[str, str], searcher: Searcher, few: CapacityLimiter) -> Query:
    """The query of a form. Raises CatalogError with a sentence for whoever filled it in."""
    query = Query.parse(given)
    if query.by_meaning and not await _threaded(lambda: searcher.has_meanings, few):
        raise CatalogError("this catalog can't be searched by meaning; search by words")
    return query


def sentence(found: Page) -> str:
    """How many images, and in which order."""
    if not found.total:
        return "No image matches."
    return f"{heading(found.total, found.order)}."


def _named(searchers: Mapping[str, Searcher], given: Mapping[str, str]) -> tuple[str, Searcher]:
    name = given.get("catalog") or next(iter(searchers))
    if name not in searchers:
        raise HTTPException(
            404, f"there is no catalog {one_line(name, 100)}; there are: {', '.join(searchers)}"
        )
    return name, searchers[name]


async def _threaded(work: Callable[[], T], few: CapacityLimiter) -> T:
    try:
        return await to_thread.run_sync(work, limiter=few)
    except (CatalogError, ModelError) as error:
        raise HTTPException(503, f"the catalog can't be searched now: {error}") from error


def _start(given: Mapping[str, str]) -> int:
    """A position, from 0; `number` is what people count, from 1."""
    number = _number(given, "number")
    return (_number(given, "start") or 0) if number is None else max(0, number - 1)


def _number(given: Mapping[str, str], name: str) -> int | None:
    text = given.get(name, "").strip()
    if not text:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) <= 16 and int(text) < FARTHEST):
        raise CatalogError(f"{name} is not a number: {one_line(text, 40)}")
    return int(text)


def _json(name: str, found: Page) -> dict[str, Any]:
    images = [row and shown(name, row) for row in found.rows]
    return {
        "catalog": name,
        "version": found.version,
        "total": found.total,
        "start": found.start,
        "order": found.order,
        "images": images,
    }


def _pager(name: str, query: Query, found: Page) -> dict[str, str]:
    """Addresses of the page before and the page after, where there is one."""

    def address(start: int) -> str:
        fields = {"catalog": name, **query.form(), "start": str(start), "version": str(found.version)}
        return f"{PAGE}?{urlencode(fields)}"

    places = {}
    if found.start > 0:
        places["Previous"] = address(max(0, min(found.start, found.total) - PER_PAGE))
    if found.start + PER_PAGE < found.total:
        places["Next"] = address(found.start + PER_PAGE)
    return places


def _license(value: str) -> str:
    known = licenses.parse(value)
    return known.name if known.known else value


SEARCH = Room(
    "commoncanvas.site.search",
    Section(PAGE, "Catalog"),
    lambda site: bool(site.catalogs),
    add,
    {PICTURE: PICTURE_BYTES},
)
