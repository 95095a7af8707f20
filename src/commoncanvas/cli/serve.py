"""`commoncanvas serve`."""

from __future__ import annotations

import os
from typing import Annotated

from cyclopts import Parameter

from commoncanvas.cli.arena import TOKEN
from commoncanvas.options.serve import (
    DEFAULTS,
    HERE,
    UNSIGNED,
    ReplicaOptions,
    ServedCredentials,
    ServeOptions,
)


def serve(
    model: str | None = None,
    *,
    catalog: Annotated[list[str] | None, Parameter(consume_multiple=True)] = None,
    models: Annotated[list[str] | None, Parameter(consume_multiple=True)] = None,
    runs: Annotated[list[str] | None, Parameter(consume_multiple=True)] = None,
    requests: str | None = None,
    host: str = "127.0.0.1",
    port: int = 8000,
    token: str | None = None,
    token_file: str | None = None,
    limits: Annotated[ServeOptions, Parameter(name="*")] = DEFAULTS,
    credentials: Annotated[ServedCredentials, Parameter(name="*")] = UNSIGNED,
    drawn_by: Annotated[ReplicaOptions, Parameter(name="*")] = HERE,
) -> None:
    """Serve MODEL to clients of OpenAI's images API, and pages to draw, search and credit, until Ctrl-C or SIGTERM.
    Accepted requests are finished first.

    Args:
        model: folder that `train` wrote, a hub id, or xs; without it, nothing is drawn.
        catalog: catalogs that people may search.
        models: folders of further models that have a page.
        runs: folders of trainings that people may follow.
        requests: folder for people's requests to take pictures out; default: beside each catalog.
        host: address to listen at; 0.0.0.0 for other machines, which needs a token.
        port: port to listen at; 0: any free one.
        token: what clients must know, at least 16 characters; the variable COMMONCANVAS_TOKEN is less visible.
        token_file: file with names and digests of tokens; if it is missing, it is made, and a new token is shown.
    """
    from commoncanvas.site.command import serve_site

    given = token or (None if token_file else os.environ.get(TOKEN)) or None
    serve_site(
        model,
        limits,
        catalog=catalog or (),
        models=models or (),
        runs=runs or (),
        requests=requests,
        host=host,
        port=port,
        token=given,
        token_file=token_file,
        credentials=credentials,
        drawn_by=drawn_by,
    )
