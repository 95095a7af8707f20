"""One application of all parts: the images API, and the pages of what the server shows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.responses import RedirectResponse, Response

from commoncanvas.serving.errors import add_errors, openai_form
from commoncanvas.serving.files import OPEN_PATHS
from commoncanvas.site.lookup.pages import LOOKUP
from commoncanvas.site.models.pages import MODELS
from commoncanvas.site.parts import Room, Site
from commoncanvas.site.row.pages import ROW
from commoncanvas.site.runs.pages import RUNS
from commoncanvas.site.search.pages import SEARCH
from commoncanvas.web.app import make_app
from commoncanvas.web.tokens import Tokens

SITE = "commoncanvas.site"
ROOMS: tuple[Room, ...] = (SEARCH, ROW, LOOKUP, MODELS, RUNS)
"""In the order of the header's links, after the page Draw."""


def site_app(site: Site, tokens: Tokens) -> FastAPI:
    """The server of a site."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        if site.drawing is not None:
            await asyncio.to_thread(site.drawing.studio.close)

    rooms = [*_that_draw(site), *(room for room in ROOMS if room.shown(site))]
    sections = tuple(room.section for room in rooms if room.section is not None)
    app, pages = make_app(
        "CommonCanvas",
        SITE,
        *(room.package for room in rooms),
        tokens=tokens,
        lifespan=lifespan,
        sections=sections,
        schema=True,
        open_paths=OPEN_PATHS,
        error_form=openai_form,
        max_body_bytes=site.limits.body_bytes,
        larger_bodies={path: most for room in rooms for path, most in room.larger_bodies.items()},
    )
    add_errors(app)
    if site.drawing is not None:
        from commoncanvas.serving.server import add_api

        add_api(app, site.drawing.studio, site.drawing.name, site.limits, site.drawing.sources)
    for room in rooms:
        room.add(app, pages, site)

    @app.get("/", include_in_schema=False)
    async def first() -> Response:
        return RedirectResponse(sections[0].path if sections else "/health", 303)

    return app


def _that_draw(site: Site) -> list[Room]:
    """The page Draw, if there is a model. It needs torch, which takes seconds to load."""
    if site.drawing is None:
        return []
    from commoncanvas.site.draw.pages import DRAW

    return [DRAW]
