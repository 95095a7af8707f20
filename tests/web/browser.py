"""Real servers on loopback and real Chromium: what each test of a page needs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI

from commoncanvas.web.serve import address_of, listen
from tests.pages.test_report import CHROMIUM

playwright = pytest.importorskip("playwright.sync_api")
axe = pytest.importorskip("axe_playwright_python.base")

HOSTILE = [
    "<img src=x onerror=document.body.dataset.hacked=1>",
    "</script><script>document.body.dataset.hacked=1</script>",
    "\"' onmouseover=document.body.dataset.hacked=1 x='",
    "{{ 7 * 7 }} ${7*7} javascript:document.body.dataset.hacked=1",
    "\u202ereversed\u202c and \x07 control",
    "شجرة خضراء",
    "long " * 300,
    "l" + "o" * 500 + "ng",
]
"""Titles, creators, prompts and captions of strangers. A page shows them as text."""
PHONE, DESK = {"width": 390, "height": 844}, {"width": 1280, "height": 800}


@contextmanager
def listening(app: FastAPI) -> Iterator[str]:
    """Serve an application in a thread; its address."""
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, log_level="critical"))
    with listen("127.0.0.1", 0) as found:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [found]})
        thread.start()
        try:
            yield address_of(found, "127.0.0.1")
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """A browser. Tests that use it are marked slow.

    It ends with the module: while playwright runs, `asyncio.run` fails in all tests, and a second one can't start.
    """
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium: Any) -> Iterator[Callable[..., Any]]:
    """`visit(url, viewport, dark)` opens a page as a new person.

    What the console says, an error of a script, and a request to another host fail the test when it ends. So does a
    script of a stranger that ran.
    """
    contexts: list[Any] = []
    said: list[str] = []

    def opened(url: str, viewport: dict[str, int] = DESK, dark: bool = False, **options: Any) -> Any:
        scheme = "dark" if dark else "light"
        contexts.append(chromium.new_context(viewport=viewport, color_scheme=scheme, **options))
        page = contexts[-1].new_page()
        page.set_default_timeout(60_000)
        host = "/".join(url.split("/")[:3]) + "/"
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: said.extend([] if request.url.startswith(host) else [request.url]))
        page.goto(url)
        return page

    yield opened
    for context in contexts:
        for page in context.pages:
            assert page.evaluate("document.body.dataset.hacked") is None
        context.close()
    assert not said, said


def audit(page: Any) -> None:
    """Nothing serious or critical for axe-core (https://github.com/dequelabs/axe-core), and no sideways scrolling."""
    page.evaluate(axe.AXE_SCRIPT)
    found = page.evaluate("axe.run()")["violations"]
    serious = [
        f"{each['id']}: {node['html'][:200]} {node['failureSummary'][:300]}"
        for each in found
        if each["impact"] in ("serious", "critical")
        for node in each["nodes"]
    ]
    assert not serious, "\n".join(serious)
    width = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert width <= 0, f"the page is {width} pixels wider than the window"


def picture(page: Any, file: Path) -> Path:
    """A screenshot of the whole page, to look at."""
    file.parent.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=file, full_page=True)
    return file
