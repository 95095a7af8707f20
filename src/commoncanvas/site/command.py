"""Put together what a server shows, and serve it until a signal ends it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING

from commoncanvas.core.console import say
from commoncanvas.core.errors import ServerError
from commoncanvas.options.credentials import CredentialOptions
from commoncanvas.options.serve import DEFAULTS, HERE, UNSIGNED, ReplicaOptions, ServeOptions
from commoncanvas.site.app import site_app
from commoncanvas.site.parts import Drawing, Site
from commoncanvas.table.table import Catalog
from commoncanvas.web.serve import address_of, listen, serve
from commoncanvas.web.tokens import given_tokens, must_have_tokens

if TYPE_CHECKING:
    from commoncanvas.serving.drawers import Drawer


def serve_site(
    model: str | Path | None = None,
    limits: ServeOptions = DEFAULTS,
    *,
    catalog: Sequence[str] = (),
    models: Sequence[str] = (),
    runs: Sequence[str] = (),
    requests: str | Path | None = None,
    host: str = "127.0.0.1",
    port: int = 8000,
    token: str | None = None,
    token_file: str | Path | None = None,
    credentials: CredentialOptions = UNSIGNED,
    drawn_by: ReplicaOptions = HERE,
) -> None:
    """Serve OpenAI's images API over a model folder, a hub id or `xs`, and pages, until SIGTERM or Ctrl-C; what was
    accepted is finished first.

    `catalog`: catalogs that people may search. `models`: folders of further models that have a page. `runs`: folders
    of trainings. `requests`: the folder for people's requests to take pictures out; default: beside each catalog.
    `token`: what clients must know. `token_file`: names and digests of several; if it is missing, it is made with a new
    token, which is shown once. Raises ServerError, ModelError, CatalogError, CredentialError, EngineError and
    MissingExtraError.
    """
    if model is None and not (catalog or models or runs):
        raise ServerError("there is nothing to serve; give a model, --catalog, --models or --runs")
    if model is None and drawn_by.engine == "ray":
        raise ServerError("--engine ray draws, but there is no model; give one")
    tokens, new = given_tokens(token, token_file)
    must_have_tokens(host, tokens)
    shared = len(tokens.digests) > 1
    with listen(host, port) as listening, ExitStack() as ended:
        catalogs = _catalogs(catalog)
        drawing = None
        if model is not None:
            from commoncanvas.serving.start import drawer_of

            drawer = ended.enter_context(closing(drawer_of(model, drawn_by, listening.getsockname()[1])))
            drawing = _drawing(model, drawer, limits, credentials, shared, catalogs)
        site = Site(
            drawing=drawing,
            catalogs=catalogs,
            models=tuple(map(Path, models)),
            runs=tuple(map(Path, runs)),
            requests=None if requests is None else Path(requests),
            limits=limits,
        )
        app = site_app(site, tokens)
        if new is not None:
            say(new, title="access token, shown only now:")
        if drawing is not None:
            say(drawing.name, title="model:")
        serve(app, listening, address_of(listening, host), drawing.studio.engine if drawing else None)


def _drawing(
    model: str | Path,
    drawer: Drawer,
    limits: ServeOptions,
    credentials: CredentialOptions,
    shared: bool,
    catalogs: Mapping[str, Catalog],
) -> Drawing:
    from commoncanvas.drawing.credentials import Signing
    from commoncanvas.serving.answers import Studio
    from commoncanvas.serving.start import make_engine
    from commoncanvas.site.sources import source_desk

    signing = Signing(credentials)
    signing.begin(drawer.model.about, drawer.model.record)
    engine = make_engine(drawer, limits, shared=shared)
    name = "xs" if str(model) == "xs" else drawer.model.about["model"]
    sources = source_desk(str(model), name, drawer.weights, catalogs)
    return Drawing(Studio(engine, signing), name, str(model), sources)


def _catalogs(uris: Sequence[str]) -> dict[str, Catalog]:
    """Catalogs by the names of their folders. Raises CatalogError; ServerError if two have the same name."""
    found: dict[str, Catalog] = {}
    for uri in uris:
        name = Path(uri.rstrip("/")).stem
        if name in found:
            raise ServerError(
                f"two catalogs have the name {name}: {found[name].uri} and {uri}; rename the folder of one"
            )
        found[name] = Catalog.open(uri)
    return found
