"""The routes of *Look up*. A picture is the body of a request; it is never stored and never logged."""

from __future__ import annotations

from functools import partial
from typing import Any

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from commoncanvas.site.lookup.answer import of_picture, of_text
from commoncanvas.site.lookup.desk import Desk
from commoncanvas.site.parts import Room, Site
from commoncanvas.web.app import Pages, Section

PATH, API = "/lookup", "/api/lookup"
MOST_BYTES = 32_000_000
MOST_TEXT = 2000
PICTURE = {
    "requestBody": {
        "required": True,
        "description": "An image file.",
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


def add(app: FastAPI, pages: Pages, site: Site) -> None:
    """Add the routes."""
    desk = Desk()

    async def by_text(text: str) -> dict[str, Any]:
        if not text or len(text) > MOST_TEXT:
            raise HTTPException(
                422, f"q: give an address, an image id or a creator, up to {MOST_TEXT:,} characters"
            )
        return await desk.answer(lambda begin: of_text(site, text, begin))

    async def by_picture(request: Request) -> dict[str, Any]:
        data = await request.body()
        if not data:
            raise HTTPException(422, "the picture is empty; send an image file as the body of the request")
        return await desk.answer(lambda begin: of_picture(site, data, begin))

    def page(asked: str = "", status: int = 200, **values: Any) -> Response:
        more = {"answer": None, "problem": None, **values}
        return pages.page("lookup.html.j2", status, query=asked, most_bytes=MOST_BYTES, **more)

    @app.get(PATH, include_in_schema=False)
    async def show(q: str = "") -> Response:
        return page() if not q.strip() else await _shown(partial(page, q), by_text(q.strip()))

    @app.post(PATH, include_in_schema=False)
    async def show_picture(request: Request) -> Response:
        return await _shown(page, by_picture(request))

    @app.get(API)
    async def answer(q: str) -> dict[str, Any]:
        """Look an address, an image id or a creator up in the catalogs."""
        return await by_text(q.strip())

    @app.post(API, openapi_extra=PICTURE)
    async def answer_picture(request: Request) -> dict[str, Any]:
        """Look a picture up in the catalogs: who made it, and which models saw it. It is not stored."""
        return await by_picture(request)

    @app.get(f"{API}/state")
    async def state() -> dict[str, int]:
        """`reading`: images of the catalog whose hashes are being read for the first time; 0 if none is."""
        return {"reading": desk.reading}


async def _shown(page: Any, answer: Any) -> Response:
    """The page with an answer, or with the sentence that says why there is none."""
    try:
        found: Response = page(answer=await answer)
    except HTTPException as error:
        found = page(status=error.status_code, problem=error.detail)
    return found


LOOKUP = Room(
    "commoncanvas.site.lookup",
    Section(PATH, "Look up"),
    lambda site: bool(site.catalogs),
    add,
    larger_bodies={PATH: MOST_BYTES, API: MOST_BYTES},
)
