"""The routes of the page."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from commoncanvas.diffusion.sampling import image_size
from commoncanvas.drawing.requests import Request as Drawing
from commoncanvas.memorisation.result import MEANING
from commoncanvas.options.generate import DrawOptions
from commoncanvas.serving.asked import (
    MOST_GUIDANCE,
    SEEDS,
    ImagesRequest,
    images_asked,
    size_step,
    unread_notes,
)
from commoncanvas.serving.engine import Job
from commoncanvas.serving.errors import ApiError
from commoncanvas.serving.recorded import recorded
from commoncanvas.site.draw.downloads import Downloads, file_name
from commoncanvas.site.draw.nearness import compared, note
from commoncanvas.site.draw.prompts import prompts_to_try
from commoncanvas.site.draw.sizes import sizes
from commoncanvas.site.draw.stream import Watched
from commoncanvas.site.parts import Drawing as Model
from commoncanvas.site.parts import Room, Site
from commoncanvas.site.shown import shown
from commoncanvas.web.app import Pages, Section

PATH = "/draw"
NEAREST = 4
"""Training images under each picture."""


def _add(app: FastAPI, pages: Pages, site: Site) -> None:
    assert site.drawing is not None
    _add_page(app, pages, site, site.drawing)
    _add_drawing(app, site, site.drawing)
    _add_sources(app, site.drawing)


def _add_page(app: FastAPI, pages: Pages, site: Site, drawing: Model) -> None:
    studio, sources = drawing.studio, drawing.sources
    loaded = studio.engine.model
    downloads = Downloads(studio.signing.signs, loaded.about, loaded.record)
    own = loaded.filled(Drawing("", DrawOptions())).options
    side = image_size(loaded.pipeline)
    known = {model: site.catalogs[name] for model, name in sources.names.items()}
    fixed: dict[str, Any] = {
        "model": drawing.name,
        "steps": min(own.steps or 1, site.limits.max_steps),
        "guidance": f"{own.guidance_scale:g}",
        "sizes": sizes(side, size_step(loaded), site.limits.max_pixels or side * side),
        "limits": site.limits,
        "most_guidance": MOST_GUIDANCE,
        "seeds": SEEDS,
        "prompts": prompts_to_try(drawing.model, known),
        "meaning": MEANING,
    }

    @app.get(PATH, include_in_schema=False)
    async def page(request: Request) -> Response:
        return pages.page(
            "draw.html.j2",
            **fixed,
            asked=dict(request.query_params),
            credentials=await downloads.note(),
            problem=sources.problem,
            commands=sources.commands,
        )

    @app.get(f"{PATH}/files/{{name}}", include_in_schema=False)
    async def download(name: str) -> Response:
        content = _kept(drawing, name)
        headers = {
            "content-disposition": f"attachment; filename*=UTF-8''{quote(file_name(content), safe='')}"
        }
        return Response(await downloads.signed(content), media_type="image/png", headers=headers)


def _add_drawing(app: FastAPI, site: Site, drawing: Model) -> None:
    studio = drawing.studio
    loaded = studio.engine.model

    @app.post(f"{PATH}/images", include_in_schema=False)
    async def images(request: Request, asked: ImagesRequest) -> Response:
        with recorded(request, asked, studio.engine.metrics, site.limits, streams=True) as record:
            record.drawings = images_asked(asked, loaded, site.limits)
            owner = request.scope.get("token_name", "")
            watched = Watched(studio, [Job(each, owner) for each in record.drawings])
            studio.submit(watched.jobs)
            record.status = 200
        headers = {"x-accel-buffering": "no"}  # proxies pass each event on at once
        return StreamingResponse(
            watched.events(unread_notes(loaded, asked)), media_type="text/event-stream", headers=headers
        )


def _add_sources(app: FastAPI, drawing: Model) -> None:
    sources = drawing.sources

    @app.get(f"{PATH}/sources/{{name}}", include_in_schema=False)
    async def nearest(name: str) -> Response:
        content = _kept(drawing, name)
        try:
            [found] = await sources.find([content], NEAREST)
        except ApiError as error:
            if error.status == 503:  # no error for the page: it asks again
                done, every = sources.progress or (0, 0)
                return JSONResponse({"state": "later", "done": done, "of": every})
            return JSONResponse({"state": "none", "why": sources.problem or str(error)})
        images = [
            shown(
                sources.names[each.catalog],
                each.credit,
                note=note(each),
                nearness=compared(each),
                copy=each.copy,
            )
            for each in found
        ]
        return JSONResponse({"state": "found", "images": images})


def _kept(drawing: Model, name: str) -> bytes:
    """A drawn image's file. Raises ApiError."""
    content = drawing.studio.kept.get(name)
    if content is None:
        raise ApiError(404, "there is no such image, or no longer; draw it again with its seed and settings")
    return content


DRAW = Room("commoncanvas.site.draw", Section(PATH, "Draw"), lambda site: site.drawing is not None, _add)
