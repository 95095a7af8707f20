"""A site on loopback: the tiny model and the catalog of tests/conftest.py."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest

from commoncanvas.drawing.credentials import Signing
from commoncanvas.drawing.model import load_model
from commoncanvas.options.credentials import CredentialOptions
from commoncanvas.options.serve import DEFAULTS, UNSIGNED, ServeOptions
from commoncanvas.serving.answers import Studio
from commoncanvas.serving.drawers import LocalDrawer
from commoncanvas.serving.start import make_engine
from commoncanvas.site.app import site_app
from commoncanvas.site.parts import Drawing, Site
from commoncanvas.site.sources import source_desk
from commoncanvas.table.table import Catalog
from commoncanvas.web.tokens import Tokens
from tests.web.browser import chromium, listening, visit

__all__ = ["chromium", "visit"]

Open = Callable[[Site], str]


@pytest.fixture
def opened() -> Iterator[Open]:
    """`opened(site)` serves a site; its address, which ends with a slash."""
    with ExitStack() as stack:
        yield lambda site: stack.enter_context(listening(site_app(site, Tokens())))


def drawing_of(
    model: Path,
    credentials: CredentialOptions = UNSIGNED,
    limits: ServeOptions = DEFAULTS,
    catalogs: Mapping[str, Catalog] | None = None,
) -> Drawing:
    """A model that draws. `catalogs`: those of the site."""
    signing = Signing(credentials)
    loaded = load_model(model)
    signing.begin(loaded.about, loaded.record)
    engine = make_engine(LocalDrawer(loaded), limits, shared=False)
    name = loaded.about["model"]
    sources = source_desk(str(model), name, loaded.pipeline, catalogs or {})
    return Drawing(Studio(engine, signing), name, str(model), sources)
