"""A real server on loopback: the tiny model of tests/conftest.py behind uvicorn, in a thread."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import openai
import pytest

from commoncanvas.drawing.credentials import Signing
from commoncanvas.drawing.model import LoadedModel, load_model
from commoncanvas.options.credentials import CredentialOptions
from commoncanvas.options.serve import UNSIGNED, ServeOptions
from commoncanvas.serving.answers import Studio
from commoncanvas.serving.drawers import LocalDrawer
from commoncanvas.serving.engine import Engine
from commoncanvas.serving.start import make_engine
from commoncanvas.site.app import site_app
from commoncanvas.site.parts import Drawing, Site
from commoncanvas.site.sources import source_desk
from commoncanvas.web.tokens import Tokens
from tests.web.browser import listening


@dataclass
class Running:
    """A server, and clients for it."""

    url: str
    engine: Engine

    def openai(self, key: str = "none", retries: int = 0) -> openai.OpenAI:
        return openai.OpenAI(base_url=f"{self.url}v1", api_key=key, max_retries=retries)

    def http(self, **headers: str) -> httpx.Client:
        return httpx.Client(base_url=self.url, headers=headers, timeout=120)

    def until(self, true: Callable[[], bool], seconds: float = 60) -> None:
        end = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < end, "it did not happen"
            time.sleep(0.002)


@contextmanager
def running(
    loaded: LoadedModel,
    limits: ServeOptions,
    tokens: Tokens,
    shared: bool = False,
    credentials: CredentialOptions = UNSIGNED,
) -> Iterator[Running]:
    signing = Signing(credentials)
    signing.begin(loaded.about, loaded.record)
    engine = make_engine(LocalDrawer(loaded), limits, shared=shared)
    name = loaded.about["model"]
    sources = source_desk(name, name, loaded.pipeline, {})
    drawing = Drawing(Studio(engine, signing), name, name, sources)
    with listening(site_app(Site(drawing, limits=limits), tokens)) as url:
        yield Running(url, engine)


@pytest.fixture(scope="session")
def loaded(model: Path) -> LoadedModel:
    return load_model(model)


@pytest.fixture
def served(loaded: LoadedModel) -> Iterator[Running]:
    """24 images may wait."""
    with running(loaded, ServeOptions(queue=24, max_prompt=500), Tokens()) as found:
        yield found
