"""One line of JSON on stderr for each request, without addresses, queries, cookies or bodies."""

from __future__ import annotations

import json
import sys
import time
import traceback
from datetime import UTC, datetime
from typing import Any

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from commoncanvas.core.text import one_line
from commoncanvas.web.errors import ErrorForm, plain


def log(event: str, **values: Any) -> None:
    """Write one line of JSON: when, what, and its values."""
    line = {"at": datetime.now(UTC).isoformat(timespec="milliseconds"), "event": event, **values}
    sys.stderr.write(json.dumps(line, default=str) + "\n")
    sys.stderr.flush()


class RequestLog:
    """Logs each answer. An error that nobody caught becomes a 500 without details; the log has its traceback."""

    def __init__(self, app: ASGIApp, error_form: ErrorForm = plain) -> None:
        self.app = app
        self.error_form = error_form

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began, status = time.perf_counter(), 0

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, noting)
        except Exception:
            log("error", path=one_line(scope["path"]), traceback=traceback.format_exc())
            if status:
                raise
            body = self.error_form(500, "the server failed; its log says why")
            await JSONResponse(body, 500)(scope, receive, noting)
        finally:
            milliseconds = round(1000 * (time.perf_counter() - began), 1)
            path = one_line(scope["path"])
            log("request", method=scope["method"], path=path, status=status, ms=milliseconds)
