"""Load a model, and serve it until a signal ends it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from commoncanvas.core.console import say
from commoncanvas.drawing.credentials import Signing
from commoncanvas.drawing.model import LoadedModel, load_model
from commoncanvas.drawing.requests import Request
from commoncanvas.options.credentials import CredentialOptions
from commoncanvas.options.generate import DrawOptions
from commoncanvas.options.serve import DEFAULTS, UNSIGNED, ServeOptions
from commoncanvas.serving.answers import Studio
from commoncanvas.serving.engine import Engine, Job
from commoncanvas.serving.metrics import Metrics
from commoncanvas.serving.server import serving_app
from commoncanvas.web.serve import address_of, listen, serve
from commoncanvas.web.tokens import given_tokens, must_have_tokens

FEWEST_WAITING = 8
"""Images that may wait by default where a batch has fewer. If one batch waits, who is accepted has the image when the
running batch and the next are done.
"""
WARM_UP_STEPS = 4


def serve_model(
    model: str | Path,
    limits: ServeOptions = DEFAULTS,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    token: str | None = None,
    token_file: str | Path | None = None,
    credentials: CredentialOptions = UNSIGNED,
) -> None:
    """Serve OpenAI's images API over a model folder, a hub id or `xs`, until SIGTERM or Ctrl-C; what was accepted is
    finished first.

    `token`: what clients must know. `token_file`: names and digests of several; if it is missing, it is made with a new
    token, which is shown once. Raises ServerError, ModelError, CredentialError and MissingExtraError.
    """
    tokens, new = given_tokens(token, token_file)
    must_have_tokens(host, tokens)
    with listen(host, port) as listening:
        signing = Signing(credentials)
        loaded = load_model(model)
        signing.begin(loaded.about, loaded.record)
        engine = make_engine(loaded, limits, shared=len(tokens.digests) > 1)
        name = "xs" if str(model) == "xs" else loaded.about["model"]
        app = serving_app(Studio(engine, signing), name, limits, tokens)
        if new is not None:
            say(new, title="access token, shown only now:")
        say(name, title="model:")
        serve(app, listening, address_of(listening, host), engine)


def make_engine(model: LoadedModel, limits: ServeOptions, *, shared: bool) -> Engine:
    """An engine that has drawn one image in a few steps, so that it knows about how long a batch takes."""
    first = model.filled(Request("", DrawOptions()))
    steps = min(WARM_UP_STEPS, first.options.steps or 1)
    first = first._replace(options=replace(first.options, steps=steps))
    at_once = model.painter.batch_size(first.options.height or 0, first.options.width or 0)
    queue = limits.queue or max(at_once, FEWEST_WAITING)
    engine = Engine(model, queue, shared=shared, metrics=Metrics())
    engine.metrics.follow(lambda: engine.waiting)
    job = Job(first, "")
    engine.submit([job])
    job.done.result()
    return engine
