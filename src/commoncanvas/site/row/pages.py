"""`/catalog/CATALOG/IMAGE_ID`: one image with its credit to copy, and requests to take it out."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from commoncanvas.catalog.credits import Credit, credit
from commoncanvas.catalog.takedown.requests import Requests, requests_folder
from commoncanvas.core.console import say
from commoncanvas.core.errors import CatalogError, RequestRefusedError
from commoncanvas.core.text import counted, one_line
from commoncanvas.site.parts import Room, Site
from commoncanvas.site.row.facts import facts, meaning, others
from commoncanvas.site.row.finding import Rows
from commoncanvas.site.row.form import MOST_CONTACT, MOST_REASON, Form, filled
from commoncanvas.site.shown import picture_path, row_path, shown
from commoncanvas.site.which_models import which_models
from commoncanvas.web.access import form_of
from commoncanvas.web.app import Pages
from commoncanvas.web.logs import log

LARGE = 1024
"""Pixels of the longer side of the picture."""
GONE = "This picture was taken down. It is no longer in the catalog, and stays out of it."
UNKNOWN = "The catalog has no such picture."
NOT_READ = "The catalog can't be read now. Please try again."
NOT_STORED = "The request could not be stored. Please send it again later."
NO_REQUEST = (
    "There is no request with this number and code. Requests are deleted some time after they were decided."
)


@dataclass(frozen=True)
class _Shelf:
    """One catalog of the server."""

    name: str
    rows: Rows
    requests: Requests
    writing: asyncio.Lock
    """Requests are written one after another, so that a flood of them holds one thread and no more."""


def add(app: FastAPI, pages: Pages, site: Site) -> None:
    """Add the routes. Raises CatalogError if requests can't be kept."""
    shelves = {
        name: _Shelf(
            name,
            Rows(catalog),
            Requests.make(requests_folder(catalog.uri, site.requests)),
            asyncio.Lock(),
        )
        for name, catalog in site.catalogs.items()
    }

    for shelf in shelves.values():
        _tell(shelf)

    def shelf_of(name: str) -> _Shelf:
        if name not in shelves:
            raise HTTPException(404, "This server has no such catalog.")
        return shelves[name]

    async def row_of(shelf: _Shelf, image_id: str) -> dict[str, Any]:
        try:
            row = await asyncio.to_thread(shelf.rows.row, image_id)
            gone = row is None and await asyncio.to_thread(shelf.rows.taken_down, image_id)
        except (CatalogError, OSError) as error:  # a purge deletes old files
            raise HTTPException(503, NOT_READ) from error
        if row is None:
            raise HTTPException(410, GONE) if gone else HTTPException(404, UNKNOWN)
        return row

    async def page(
        shelf: _Shelf, row: Mapping[str, Any], form: Form, status: int = 200, refused: str = ""
    ) -> Response:
        image_id = row["image_id"]
        saw = await asyncio.to_thread(which_models, site, shelf.name, [image_id])
        values = {**_values(shelf.name, row), "models": saw[image_id], "form": form, "refused": refused}
        return pages.page("row.html.j2", status, **values)

    @app.get("/catalog/{catalog}/{image_id:path}", include_in_schema=False)
    async def image(catalog: str, image_id: str) -> Response:
        shelf = shelf_of(catalog)
        return await page(shelf, await row_of(shelf, image_id), Form())

    @app.post("/catalog/{catalog}/{image_id:path}", include_in_schema=False)
    async def ask(catalog: str, image_id: str, request: Request) -> Response:
        shelf = shelf_of(catalog)
        row = await row_of(shelf, image_id)
        form = filled(await form_of(request), has_creator=bool(row["creator"] or row["creator_url"]))
        if form.problems:
            return await page(shelf, row, form, 422)
        try:
            async with shelf.writing:
                number = await asyncio.to_thread(shelf.requests.add, form.asked(row), form.code)
        except RequestRefusedError as error:
            return await page(shelf, row, form, 429, refused=str(error))
        except CatalogError as error:
            log("error", what="a request can't be stored", error=one_line(error))
            return await page(shelf, row, form, 503, refused=NOT_STORED)
        log("request to take out", catalog=shelf.name, number=number)
        return RedirectResponse(_request_path(shelf.name, number, form.code), 303)

    @app.get("/requests/{catalog}/{number}", include_in_schema=False)
    async def state(catalog: str, number: int, request: Request, code: str = "") -> Response:
        shelf = shelf_of(catalog)
        found = (
            await asyncio.to_thread(shelf.requests.of_person, number, code) if 0 < number < 2**63 else None
        )
        if found is None:
            raise HTTPException(404, NO_REQUEST)
        path = _request_path(shelf.name, number, code)
        address = str(request.base_url).rstrip("/") + path
        about = row_path(shelf.name, found.image_id)
        return pages.page("request.html.j2", request=found, address=address, about=about)


def _tell(shelf: _Shelf) -> None:
    """Say at the start that requests wait: nobody else tells those who decide."""
    uri, waiting = shelf.rows.uri, len(shelf.requests.with_states("open"))
    if waiting:
        command = f"commoncanvas catalog takedown --from-requests --catalog {shlex.quote(uri)}"
        say(
            f"{counted(waiting, 'requests')} to take pictures out; to decide: {command}",
            title=f"{shelf.name}:",
        )


def _request_path(catalog: str, number: int, code: str) -> str:
    """The code is in the query: the log has no queries."""
    return f"/requests/{quote(catalog, safe='')}/{number}?{urlencode({'code': code})}"


def _values(catalog: str, row: Mapping[str, Any]) -> dict[str, Any]:
    made: Credit = credit(row)
    copied = row.get("duplicate_of")
    side = max(row["width"] or 0, row["height"] or 0)
    scale = min(1.0, LARGE / side) if side else 0.0
    return {
        "image": shown(catalog, made, picture=picture_path(catalog, made.image_id, LARGE)),
        "has_picture": row["fetch_status"] == "ok" and side > 0,
        "width": round((row["width"] or 0) * scale),
        "height": round((row["height"] or 0) * scale),
        "meaning": meaning(row),
        "facts": facts(row),
        "others": others(row),
        "copy_of": (copied, row_path(catalog, copied)) if copied else None,
        "credits": [("Text", made.text()), ("HTML", made.html()), ("Markdown", made.markdown())],
        "most_reason": MOST_REASON,
        "most_contact": MOST_CONTACT,
    }


ROW = Room("commoncanvas.site.row", None, lambda site: bool(site.catalogs), add)
