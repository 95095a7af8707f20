"""`serve`: the routes. Clients are those of OpenAI's API, Prometheus, and what watches over servers."""

from __future__ import annotations

import base64
import time
from typing import Any

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from commoncanvas.drawing.requests import Request as Drawing
from commoncanvas.options.serve import ServeOptions
from commoncanvas.serving.answers import GONE, Studio
from commoncanvas.serving.asked import ImagesRequest, images_asked, unread_notes
from commoncanvas.serving.engine import Job
from commoncanvas.serving.errors import ERRORS, ApiError
from commoncanvas.serving.files import FILES
from commoncanvas.serving.metrics import CONTENT_TYPE
from commoncanvas.serving.recorded import recorded
from commoncanvas.serving.sources import Sources, needed


def add_api(
    app: FastAPI, studio: Studio, name: str, limits: ServeOptions, sources: Sources | None = None
) -> None:
    """Add the routes of one model, which clients call `name`. `sources`: who finds its training images."""
    _add_models(app, name)
    _add_watching(app, studio)
    _add_images(app, studio, name, limits, sources)


def _add_models(app: FastAPI, name: str) -> None:
    shown = {"id": name, "object": "model", "created": int(time.time()), "owned_by": "commoncanvas"}

    @app.get("/v1/models", responses={401: ERRORS[401]})
    async def models() -> dict[str, Any]:
        return {"object": "list", "data": [shown]}

    @app.get("/v1/models/{model:path}", responses={401: ERRORS[401], 404: ERRORS[404]})
    async def model(model: str) -> dict[str, Any]:
        _must_be(model, name)
        return shown


def _must_be(model: str | None, name: str) -> None:
    if model not in (None, name):
        raise ApiError(
            404, f"there is no model {model}; this server has {name}", param="model", code="model_not_found"
        )


def _add_watching(app: FastAPI, studio: Studio) -> None:
    @app.get("/ready", responses={503: ERRORS[503]})
    async def ready() -> Response:
        replicas = studio.engine.replicas
        status = ("ready" if replicas else "no replica lives") if studio.engine.ready else "ending"
        return JSONResponse({"status": status, "replicas": replicas}, 200 if status == "ready" else 503)

    @app.get("/metrics", responses={401: ERRORS[401]})
    async def metrics() -> Response:
        return Response(studio.engine.metrics.text(), media_type=CONTENT_TYPE)


def _add_images(
    app: FastAPI, studio: Studio, name: str, limits: ServeOptions, sources: Sources | None
) -> None:
    model = studio.engine.model

    @app.post("/v1/images/generations", responses=ERRORS, response_model=None)
    async def generations(request: Request, asked: ImagesRequest) -> Response:
        with recorded(request, asked, studio.engine.metrics, limits, streams=bool(asked.stream)) as record:
            _must_be(asked.model, name)
            record.drawings = images_asked(asked, model, limits)
            if asked.sources:
                await needed(sources).ready()
            answer = await _answer(request, asked, record.drawings)
            record.status = answer.status_code
            return answer

    async def _answer(request: Request, asked: ImagesRequest, drawings: list[Drawing]) -> Response:
        owner = request.scope.get("token_name", "")
        jobs = [Job(each, owner, asked.partial_images or 0) for each in drawings]
        options = drawings[0].options
        common = {
            "background": "opaque",
            "output_format": "png",
            "quality": "auto",
            "size": f"{options.width}x{options.height}",
        }

        async def about(contents: list[bytes]) -> list[dict[str, Any]]:
            """What is said of each image beside its file."""
            found = await needed(sources).of(contents, asked.sources) if asked.sources else None
            return [
                {"seed": job.request.options.seed} | ({"sources": found[place]} if found else {})
                for place, job in enumerate(jobs)
            ]

        if asked.stream:
            events = studio.events(jobs[0], common, _usage(asked.prompt), about)
            return StreamingResponse(events, media_type="text/event-stream")
        studio.submit(jobs)
        contents = await studio.files(jobs, request)
        if contents is None:
            return Response(status_code=GONE)
        data = [
            {**_shown(request, asked, content), **more}
            for content, more in zip(contents, await about(contents), strict=True)
        ]
        body = {"created": int(time.time()), **common, "data": data}
        unread = unread_notes(model, asked)
        return JSONResponse(body | ({"warnings": unread} if unread else {}))

    def _shown(request: Request, asked: ImagesRequest, content: bytes) -> dict[str, str]:
        if asked.response_format == "url":
            return {"url": f"{str(request.base_url).rstrip('/')}{FILES}{studio.kept.add(content)}"}
        return {"b64_json": base64.b64encode(content).decode()}

    def _usage(prompt: str) -> dict[str, Any]:
        """Tokens that the model reads; a diffusion model writes none."""
        tokenizer = model.pipeline.tokenizer
        read = min(len(tokenizer(prompt, verbose=False).input_ids), tokenizer.model_max_length)
        details = {"image_tokens": 0, "text_tokens": read}
        return {
            "input_tokens": read,
            "input_tokens_details": details,
            "output_tokens": 0,
            "total_tokens": read,
        }

    @app.get(FILES + "{name}", responses={404: ERRORS[404]})
    async def file(name: str) -> Response:
        content = studio.kept.get(name)
        if content is None:
            raise ApiError(404, "there is no such image, or no longer")
        return Response(content, media_type="image/png", headers={"cache-control": "private, max-age=3600"})
