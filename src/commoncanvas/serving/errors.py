"""Errors in the form of OpenAI's API: https://platform.openai.com/docs/guides/error-codes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from commoncanvas.core.text import one_line

ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"description": text, "content": {"application/json": {}}}
    for status, text in {
        400: "A field is wrong",
        401: "A token is missing",
        404: "Not here",
        413: "Too large",
        429: "The queue is full; see Retry-After",
        503: "The server is ending",
    }.items()
}
"""What an answer of each status says, for the schema."""
CODES = {401: "invalid_api_key", 429: "rate_limit_exceeded", 503: "server_stopping"}


class ApiError(Exception):
    """An answer that is an error; `param`: the field of the request that is wrong."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.body = openai_form(status, message, param, code)
        self.headers = headers


def openai_form(
    status: int, message: str, param: str | None = None, code: str | None = None
) -> dict[str, Any]:
    """The body of an error."""
    kind = (
        "server_error" if status >= 500 else "rate_limit_error" if status == 429 else "invalid_request_error"
    )
    return {
        "error": {
            "message": one_line(message),
            "type": kind,
            "param": param,
            "code": code or CODES.get(status),
        }
    }


def add_errors(app: FastAPI) -> None:
    """Answer ApiError, and requests of a wrong form."""

    @app.exception_handler(ApiError)
    async def api(request: Request, error: ApiError) -> Response:
        return JSONResponse(error.body, error.status, headers=error.headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        place = [one_line(part, 60) for part in first["loc"] if part != "body"]
        # Of JSON that can't be read, the place is a number of characters.
        param = ".".join(place) if first["type"] != "json_invalid" else None
        message = f"{param}: {first['msg']}" if param else f"the body is not a JSON object: {first['msg']}"
        code = "unknown_parameter" if first["type"] == "extra_forbidden" else None
        return JSONResponse(openai_form(400, message, param or None, code), 400)
