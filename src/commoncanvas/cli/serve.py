"""`commoncanvas serve`."""

from __future__ import annotations

import os
from typing import Annotated

from cyclopts import Parameter

from commoncanvas.cli.arena import TOKEN
from commoncanvas.options.serve import DEFAULTS, UNSIGNED, ServedCredentials, ServeOptions


def serve(
    model: str,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    token: str | None = None,
    token_file: str | None = None,
    limits: Annotated[ServeOptions, Parameter(name="*")] = DEFAULTS,
    credentials: Annotated[ServedCredentials, Parameter(name="*")] = UNSIGNED,
) -> None:
    """Serve MODEL to clients of OpenAI's images API until Ctrl-C or SIGTERM; accepted requests are finished first.

    Args:
        model: folder that `train` wrote, a hub id, or xs.
        host: address to listen at; 0.0.0.0 for other machines, which needs a token.
        port: port to listen at; 0: any free one.
        token: what clients must know, at least 16 characters; the variable COMMONCANVAS_TOKEN is less visible.
        token_file: file with names and digests of tokens; if it is missing, it is made, and a new token is shown.
    """
    from commoncanvas.serving.command import serve_model

    given = token or (None if token_file else os.environ.get(TOKEN)) or None
    serve_model(
        model, limits, host=host, port=port, token=given, token_file=token_file, credentials=credentials
    )
