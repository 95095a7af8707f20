"""The application of a server: what its pages and answers share. A room adds its own routes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from jinja2 import Environment
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from commoncanvas.core.text import one_line
from commoncanvas.core.version import __version__
from commoncanvas.pages.report import environment
from commoncanvas.web.access import LOGIN, MAX_BODY_BYTES, Access, TooLargeError, form_of, remember
from commoncanvas.web.assets import assets_of
from commoncanvas.web.errors import ErrorForm, plain
from commoncanvas.web.headers import SecurityHeaders
from commoncanvas.web.logs import RequestLog
from commoncanvas.web.tokens import Tokens

WEB = "commoncanvas.web"
Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


@dataclass(frozen=True)
class Section:
    """A part of a site that the header of each page links to. A template says `{% set section = PATH %}`."""

    path: str
    name: str


@dataclass(frozen=True)
class Pages:
    """Renders the templates of a server's rooms."""

    title: str
    templates: Environment
    sections: tuple[Section, ...] = ()

    def page(self, template: str, status: int = 200, **values: Any) -> HTMLResponse:
        """A page as an answer. Each text in it is escaped."""
        program = f"CommonCanvas {__version__}"
        text = self.templates.get_template(template).render(
            site=self.title, program=program, sections=self.sections, **values
        )
        return HTMLResponse(text, status)


@asynccontextmanager
async def _nothing(_: FastAPI) -> AsyncIterator[None]:
    yield


def make_app(
    title: str,
    *packages: str,
    tokens: Tokens,
    lifespan: Lifespan = _nothing,
    max_body_bytes: int = MAX_BODY_BYTES,
    schema: bool = False,
    open_paths: tuple[str, ...] = (),
    sections: tuple[Section, ...] = (),
    larger_bodies: Mapping[str, int] | None = None,
    error_form: ErrorForm = plain,
) -> tuple[FastAPI, Pages]:
    """An application with `/health`, `/login`, `/static/...`, tokens, security headers, logs and plain errors.

    `packages`: rooms with folders `templates` and `static` of their own, such as `commoncanvas.arena`. `lifespan`:
    entered before the first request, and left after the last. `schema`: serve `/openapi.json`. `open_paths`: beginnings
    of paths that need no token either. `sections`: see Section. `larger_bodies`: most bytes of a request to a path,
    where it is not `max_body_bytes`. `error_form`: the body of errors for programs.
    """
    app = FastAPI(
        title=title,
        version=__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json" if schema else None,
        lifespan=lifespan,
    )
    pages = Pages(title, environment(*packages, WEB), sections)
    _add_common(app, pages, assets_of((WEB, *packages), pages.templates), tokens)
    _add_errors(app, pages, error_form)
    app.add_middleware(
        Access,
        tokens=tokens,
        max_body_bytes=max_body_bytes,
        open_paths=open_paths,
        larger_bodies=larger_bodies,
        error_form=error_form,
    )
    app.add_middleware(RequestLog, error_form=error_form)
    app.add_middleware(SecurityHeaders)
    return app, pages


def _add_common(app: FastAPI, pages: Pages, assets: dict[str, Any], tokens: Tokens) -> None:
    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/static/{name}", include_in_schema=False)
    async def static(name: str, request: Request) -> Response:
        if name not in assets:
            raise HTTPException(404)
        answer: Response = assets[name].answer(request)
        return answer

    @app.get("/favicon.ico", include_in_schema=False)
    async def icon(request: Request) -> Response:
        return await static("icon.svg", request)

    @app.get(LOGIN, include_in_schema=False)
    async def login() -> Response:
        return pages.page("login.html.j2", wrong=False)

    @app.post(LOGIN, include_in_schema=False)
    async def enter(request: Request) -> Response:
        token = (await form_of(request)).get("token", "").strip()
        if tokens.name_of(token) is None:
            return pages.page("login.html.j2", 401, wrong=True)
        answer = RedirectResponse("/", 303)
        remember(answer, request, tokens.cookie, token)
        return answer


def _add_errors(app: FastAPI, pages: Pages, error_form: ErrorForm) -> None:
    def answer(
        request: Request, status: int, text: str, headers: Mapping[str, str] | None = None
    ) -> Response:
        if "text/html" in request.headers.get("accept", ""):
            return pages.page("error.html.j2", status, number=status, text=text)
        return JSONResponse(error_form(status, text), status, headers=headers)

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        return answer(request, error.status_code, str(error.detail), error.headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        return answer(request, 422, one_line(f"{'.'.join(map(str, first['loc']))}: {first['msg']}"))

    @app.exception_handler(TooLargeError)
    async def large(request: Request, error: TooLargeError) -> Response:
        return answer(request, 413, "the request is too large")
