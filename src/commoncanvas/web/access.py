"""Who may ask what: tokens by header or cookie, the names of this host, requests from other sites, sizes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import parse_qs, urlencode, urlsplit

from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from commoncanvas.web.errors import ErrorForm, plain
from commoncanvas.web.tokens import Tokens, is_loopback

LOGIN = "/login"
OPEN = ("/static/", "/health", LOGIN)
"""Beginnings of paths that need no token."""
MAX_BODY_BYTES = 64_000
YEAR_S = 31_536_000
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[\w.-]*)(:\d{1,5})?", re.ASCII)
"""RFC 9110, section 7.2; a URL can't be made of others. HTTP/1.0 has none."""


class Access:
    """Refuses what has no token, comes from another site, or is too large; `scope["token_name"]` is who asks.

    A token comes as `Authorization: Bearer`, as the cookie of the login page, or once as `?token=` in a link: the
    answer sets the cookie, and leads to the same address without the token. CORS is shut: no answer allows another
    origin, and a request that changes something is refused if a browser says that another site sent it.
    """

    def __init__(
        self,
        app: ASGIApp,
        tokens: Tokens,
        max_body_bytes: int = MAX_BODY_BYTES,
        open_paths: tuple[str, ...] = (),
        larger_bodies: Mapping[str, int] | None = None,
        error_form: ErrorForm = plain,
    ) -> None:
        self.app = app
        self.tokens = tokens
        self.max_body_bytes = max_body_bytes
        self.open_paths = OPEN + open_paths
        self.larger_bodies = larger_bodies or {}
        self.error_form = error_form

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request = Request(scope)
        refused = self._refused(request)
        if refused is not None:
            await refused(scope, receive, send)
            return
        await self.app(scope, _Limited(receive, self._most_bytes(scope["path"])), send)

    def _refused(self, request: Request) -> Response | None:
        host = request.headers.get("host", "")
        if not _HOST.fullmatch(host):
            return self._error(400, "the header Host is not the name of a host")
        # Without tokens only this machine is served: a name of elsewhere is DNS rebinding.
        if not self.tokens and not is_loopback(_name(host)):
            return self._error(421, "this server has no token, and answers only at localhost")
        if request.method not in ("GET", "HEAD", "OPTIONS") and _from_another_site(request.headers, host):
            return self._error(403, "this request came from another site")
        length, most = request.headers.get("content-length", "0"), self._most_bytes(request.url.path)
        if not length.isdecimal() or int(length) > most:
            return self._error(413, f"the request is larger than {most:,} bytes")
        return self._without_token(request) if self.tokens else None

    def _most_bytes(self, path: str) -> int:
        """Of a request's body: a page that takes pictures takes more than the others."""
        return self.larger_bodies.get(path, self.max_body_bytes)

    def _error(self, status: int, text: str, **headers: str) -> Response:
        return JSONResponse(self.error_form(status, text), status, headers=headers)

    def _without_token(self, request: Request) -> Response | None:
        path = request.url.path
        linked = request.query_params.get("token")
        if linked is not None and request.method == "GET" and self.tokens.name_of(linked):
            rest = urlencode([pair for pair in request.query_params.multi_items() if pair[0] != "token"])
            answer = RedirectResponse(_local(path) + (f"?{rest}" if rest else ""), 303)
            remember(answer, request, self.tokens.cookie, linked)
            return answer
        kind, _, bearer = request.headers.get("authorization", "").partition(" ")
        token = bearer if kind.lower() == "bearer" else request.cookies.get(self.tokens.cookie, "")
        name = self.tokens.name_of(token)
        if name is not None:
            request.scope["token_name"] = name
            return None
        if path.startswith(self.open_paths):
            return None
        if request.method == "GET" and "text/html" in request.headers.get("accept", ""):
            return RedirectResponse(LOGIN, 303)
        return self._error(401, "a token is missing or unknown", **{"www-authenticate": "Bearer"})


class _Limited:
    """A request's body, cut with an error after `most` bytes: a body in chunks states no length."""

    def __init__(self, receive: Receive, most: int) -> None:
        self.receive = receive
        self.left = most

    async def __call__(self) -> Message:
        message = await self.receive()
        self.left -= len(message.get("body", b""))
        if self.left < 0:
            raise TooLargeError
        return message


class TooLargeError(Exception):
    """The body of a request is larger than it may be."""


def remember(answer: Response, request: Request, name: str, value: str) -> None:
    """Set a cookie that scripts can't read and other sites can't send."""
    answer.set_cookie(
        name,
        value,
        max_age=YEAR_S,
        httponly=True,
        samesite="lax",
        secure=request.url.scheme == "https",
    )


async def form_of(request: Request) -> dict[str, str]:
    """The fields of a form (`application/x-www-form-urlencoded`); of a repeated one the last."""
    body = (await request.body()).decode("utf-8", "replace")
    return {name: values[-1] for name, values in parse_qs(body, max_num_fields=100).items()}


def _name(host: str) -> str:
    """`[::1]:80` -> `::1`, `localhost:80` -> `localhost`."""
    return host.partition("]")[0].lstrip("[") if host.startswith("[") else host.partition(":")[0]


def _local(path: str) -> str:
    """A path that a browser can't take for another host's address (`//host`)."""
    return "/" + path.lstrip("/\\")


def _from_another_site(headers: Mapping[str, str], host: str) -> bool:
    """https://www.w3.org/TR/fetch-metadata/; `Origin` for browsers that don't send it. Other programs send neither."""
    if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return True
    origin = headers.get("origin")
    return origin is not None and urlsplit(origin).netloc.lower() != host.lower()
