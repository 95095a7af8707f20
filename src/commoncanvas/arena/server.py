"""`arena serve`: the pages on which people vote, and what these ask the server."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from fastapi import FastAPI
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from commoncanvas.arena.ballots import (
    Ballots,
    Finished,
    RefusedError,
    Task,
    UnknownRaterError,
    open_ballots,
)
from commoncanvas.arena.blind import image_path
from commoncanvas.arena.database import CREDITS
from commoncanvas.arena.writer import StoppedError, Writer
from commoncanvas.core.text import visible
from commoncanvas.web.access import form_of, remember
from commoncanvas.web.app import Pages, make_app
from commoncanvas.web.tokens import Tokens

ARENA = "commoncanvas.arena"
IMAGE = re.compile("[0-9a-f]{32}")
T = TypeVar("T")


class Answer(BaseModel):
    """One answer, as the page sends it."""

    assignment: Annotated[str, Field(max_length=64)]
    question: Literal["preference", "alignment"]
    attempt: Annotated[int, Field(ge=0, le=1000)]
    answer: Literal["left", "right", "both", "neither"]
    seconds: Annotated[float | None, Field(ge=0, allow_inf_nan=False)] = None


def arena_app(folder: Path, tokens: Tokens) -> FastAPI:
    """The server of an arena. Raises ArenaError if `folder` is none, or is not complete."""
    writer = Writer(lambda: open_ballots(folder))
    settings = writer.ballots.settings

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        writer.close()

    app, pages = make_app(settings["title"], ARENA, tokens=tokens, lifespan=lifespan)
    app.state.writer = writer
    _add_pages(app, pages, writer)
    _add_calls(app, writer, folder)
    return app


def _cookie(writer: Writer) -> str:
    """Its name holds the arena's id: other servers of this host may have arenas too."""
    return f"rater-{writer.ballots.settings['id']}"


def _rater(request: Request, writer: Writer) -> str:
    return request.cookies.get(_cookie(writer), "")


def _add_pages(app: FastAPI, pages: Pages, writer: Writer) -> None:
    def start(status: int = 200, problem: str = "") -> Response:
        settings = writer.ballots.settings
        paragraphs = [each for each in settings["consent"].split("\n\n") if each.strip()]
        return pages.page(
            "start.html.j2", status, problem=problem, consent=paragraphs, questions=writer.ballots.questions
        )

    async def known(rater: str) -> bool:
        return bool(rater) and await writer.run(lambda ballots: ballots.known(rater))

    @app.get("/", include_in_schema=False)
    async def first(request: Request) -> Response:
        return RedirectResponse("/rate", 303) if await known(_rater(request, writer)) else start()

    @app.post("/start", include_in_schema=False)
    async def begin(request: Request) -> Response:
        form = await form_of(request)
        rater = form.get("rater", "").strip().lower()
        if rater and not await known(rater):
            return start(422, "rater")
        if not rater and form.get("consent") != "yes":
            return start(422, "consent")
        rater = rater or await writer.run(Ballots.join)
        answer = RedirectResponse("/rate", 303)
        remember(answer, request, _cookie(writer), rater)
        return answer

    @app.post("/leave", include_in_schema=False)
    async def leave() -> Response:
        answer = RedirectResponse("/", 303)
        answer.delete_cookie(_cookie(writer))
        return answer

    @app.get("/rate", include_in_schema=False)
    async def rate(request: Request) -> Response:
        rater = _rater(request, writer)
        if not await known(rater):
            return RedirectResponse("/", 303)
        credits = [visible(each) for each in writer.ballots.settings.get(CREDITS, ())]
        return pages.page("rate.html.j2", rater=rater, credits=credits)


def _add_calls(app: FastAPI, writer: Writer, folder: Path) -> None:
    async def answered(call: Callable[[Ballots], Task | Finished]) -> Response:
        try:
            found = await writer.run(call)
        except UnknownRaterError:
            return JSONResponse({"error": "unknown rater; begin at the first page"}, 403)
        except RefusedError as error:
            return JSONResponse({"error": str(error)}, 409)
        except StoppedError:
            return JSONResponse(
                {"error": "the server is ending; try again soon"}, 503, headers={"retry-after": "5"}
            )
        return JSONResponse(_shown(found))

    @app.get("/api/task")
    async def task(request: Request) -> Response:
        rater = _rater(request, writer)
        return await answered(lambda ballots: ballots.task(rater))

    @app.post("/api/vote")
    async def vote(request: Request, given: Answer) -> Response:
        rater, values = _rater(request, writer), given.model_dump()
        return await answered(lambda ballots: ballots.vote(rater, **values))

    @app.post("/api/undo")
    async def undo(request: Request) -> Response:
        rater = _rater(request, writer)
        return await answered(lambda ballots: ballots.undo(rater))

    @app.get("/images/{name}")
    async def image(name: str) -> Response:
        stem, _, kind = name.partition(".")
        if kind != "png" or not IMAGE.fullmatch(stem):
            raise HTTPException(404)
        try:
            content = await asyncio.to_thread(image_path(folder, stem).read_bytes)
        except FileNotFoundError as error:
            raise HTTPException(404) from error
        headers = {"cache-control": "private, max-age=86400, immutable"}
        return Response(content, media_type="image/png", headers=headers)


def _shown(found: Task | Finished) -> dict[str, Any]:
    """What the page gets: URLs of the images, and nothing of the models."""
    values = asdict(found)
    if isinstance(found, Finished):
        return {"finished": True, **values}
    left, right = (f"/images/{values[side]}.png" for side in ("left", "right"))
    return {"finished": False, **values, "prompt": visible(found.prompt), "left": left, "right": right}
