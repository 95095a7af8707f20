"""Every page of a site of all parts, found by its links and forms: rules that no page may break, whoever adds it.

Titles, creators, captions, prompts, names of files and the model card are those of hostile strangers.
"""

from __future__ import annotations

import io
import json
import re
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute
from PIL import Image
from starlette.routing import Match

from commoncanvas.catalog import Catalog
from commoncanvas.images.image import encode_image
from commoncanvas.site.app import site_app
from commoncanvas.site.parts import Site
from commoncanvas.table.schema import to_batch
from commoncanvas.web.headers import POLICY
from commoncanvas.web.tokens import Tokens
from tests.conftest import COLOURS, SHAPES, drawing
from tests.site.conftest import drawing_of
from tests.site.runs import entry, lines, write_run
from tests.web.browser import DESK, HOSTILE, PHONE, audit, listening

pytestmark = pytest.mark.slow
NO_PAGES = {"/static/{name}", "/favicon.ico", "/draw/sources/{name}"}
"""Routes that are in no schema, and that no link leads to. The last one is asked by the script of the page Draw, if the
server has the catalog that its model learned from.
"""
MOST_ADDRESSES = 3
"""Of one route: a wall has as many links as a catalog has rows."""
STRANGERS = ("/runs/", "/catalog/", "/models/")
"""Beginnings of pages that show texts of strangers."""
LINKS = "[...document.querySelectorAll('a[href], area[href]')].map((each) => each.href)"
OPEN_ALL = "document.querySelectorAll('details').forEach((each) => { each.open = true; })"


def hostile_catalog(uri: Path) -> Catalog:
    rows = []
    for number, text in enumerate(HOSTILE):
        image = drawing(COLOURS[number % len(COLOURS)], SHAPES[number % len(SHAPES)])
        rows.append(
            {
                "image_id": f"shapes:{number}/{text[:40]}?a=1#b%2F",
                "source": "shapes",
                "source_id": text[:40],
                "page_url": "javascript:document.body.dataset.hacked=1"
                if number % 2
                else "https://a.example/1",
                "title": text,
                "description": text,
                "label": text,
                "tags": [text, "deer"],
                "creator": text,
                "creator_url": "javascript:document.body.dataset.hacked=1",
                "license": ("CC-BY-4.0", "CC0-1.0")[number % 2],
                "image": encode_image(image, "png"),
                "width": 32,
                "height": 32,
                "fetch_status": "ok",
            }
        )
    catalog = Catalog.open_or_create(uri)
    catalog.add([to_batch(rows)])
    return catalog


@pytest.fixture
def whole(model: Path, tmp_path: Path) -> Site:
    """A site of all parts."""
    served, other = tmp_path / "served", tmp_path / HOSTILE[0]
    for folder in (served, other):
        shutil.copytree(model, folder)
        card = (folder / "README.md").read_text(encoding="utf-8")
        text = "\n\n".join([card, "![A picture](drawn.png)", *HOSTILE])
        (folder / "README.md").write_text(text, encoding="utf-8")
        Image.fromarray(drawing("red", "bar")).save(folder / "drawn.png")
    for name in (HOSTILE[0], "served-run"):
        run = write_run(tmp_path / "runs" / name, prompts=HOSTILE, name=HOSTILE[1])
        with (run / "log.jsonl").open("a") as file:
            file.write(lines([entry(600, **{HOSTILE[2]: 1.0}, note=HOSTILE[3])]))
    shutil.copytree(run, tmp_path / "served-run")
    return Site(
        drawing=drawing_of(served),
        catalogs={"cc": hostile_catalog(tmp_path / "cc.lance")},
        models=(other,),
        runs=(tmp_path / "runs",),
    )


class Walk:
    """Goes over the pages of one browser window, by their links and forms."""

    def __init__(self, app: FastAPI, page: Any, url: str) -> None:
        self.routes = [route for route in app.routes if isinstance(route, APIRoute)]
        self.page, self.url = page, url.rstrip("/")
        self.reached: Counter[str] = Counter()
        self.submitted: set[tuple[str, str]] = set()
        self.texts: dict[str, str] = {}
        page.on("response", self._look_at)

    def _look_at(self, answer: Any) -> None:
        assert answer.headers["content-security-policy"] == POLICY, answer.url
        self.reached[self.route(answer.url)] += 1

    def route(self, address: str) -> str:
        """The route that answers GET at an address; empty if none does."""
        path = httpx.URL(address).path
        scope = {"type": "http", "method": "GET", "path": path, "root_path": "", "headers": []}
        return next((each.path for each in self.routes if each.matches(scope)[0] == Match.FULL), "")

    def everywhere(self) -> None:
        """Visit what can be reached from the first page, at most MOST_ADDRESSES of a route."""
        waiting, seen, visited = [f"{self.url}/", f"{self.url}/login"], set(), Counter[str]()
        while waiting:
            address = waiting.pop(0)
            route = self.route(address)
            if address in seen or visited[route] >= MOST_ADDRESSES:
                continue
            seen.add(address)
            visited[route] += 1
            answer = httpx.get(address, headers={"accept": "text/html"}, follow_redirects=True)
            assert answer.status_code == 200, f"a link leads to {address}: {answer.status_code}"
            assert answer.headers["content-security-policy"] == POLICY, address
            self.reached[route] += 1
            if "text/html" in answer.headers["content-type"] and "content-disposition" not in answer.headers:
                self.page.goto(address)
                waiting += self._looked_at()
                waiting += self._forms(address, route)

    def _looked_at(self) -> list[str]:
        """Check the page that is open; where its links lead on this server."""
        self.page.wait_for_load_state("networkidle")
        self.page.evaluate(OPEN_ALL)
        self.page.evaluate("[...document.images].at(-1)?.scrollIntoView()")  # it is loaded late
        self.page.wait_for_load_state("networkidle")
        audit(self.page)
        assert self.page.evaluate("document.body.dataset.hacked") is None
        text = self.page.inner_text("body")
        assert not re.search("[\u202a-\u202e\u2066-\u2069\x00-\x08\x0b-\x1f]", text), self.page.url
        self.texts[self.page.url] = " ".join(text.split())
        found = self.page.evaluate(LINKS)
        assert all(urlsplit(each).scheme in ("http", "https", "mailto") for each in found)
        return [each.partition("#")[0] for each in found if each.startswith(f"{self.url}/")]

    def _forms(self, address: str, route: str) -> list[str]:
        """Send each form once, filled with what strangers write."""
        found: list[str] = []
        for number in range(self.page.locator("form").count()):
            action = self.page.locator("form").nth(number).get_attribute("action") or ""
            key = (route, f"{number} {self.route(urljoin(address, action))}")
            form = self.page.locator("form").nth(number)
            if key in self.submitted or action == "/login" or not form.is_visible():
                continue
            self.submitted.add(key)
            self._fill(form)
            button = form.locator("button:not([type=button]), input[type=submit]")
            if button.count():  # a script sends those without one, as soon as there is a file
                button.first.click()
            found += self._looked_at()
            self.page.goto(address)
            self.page.wait_for_load_state("networkidle")
            self.page.evaluate(OPEN_ALL)
        return found

    def _fill(self, form: Any) -> None:
        for field in form.locator("input:not([type]), input[type=text], input[type=search], textarea").all():
            if field.is_visible() and field.is_editable():
                most = int(field.get_attribute("maxlength") or 300)
                field.fill(HOSTILE[0][:most])
        for field in form.locator("input[type=email]").all():
            field.fill("somebody@example.org")
        for field in form.locator("input[type=checkbox]").all()[:3]:
            field.check()
        for field in form.locator("input[type=file]").all():
            content = io.BytesIO()
            Image.fromarray(drawing("red", "circle")).save(content, "PNG")
            file = {"name": f"{HOSTILE[0]}.png", "mimeType": "image/png", "buffer": content.getvalue()}
            field.set_input_files(file)


@pytest.mark.parametrize(
    ("viewport", "dark"),
    [
        (PHONE, True),
        pytest.param(DESK, False, marks=pytest.mark.heavy),
        pytest.param(DESK, True, marks=pytest.mark.heavy),
        pytest.param(PHONE, False, marks=pytest.mark.heavy),
    ],
)
def test_every_page_keeps_the_rules(
    whole: Site, visit: Callable[..., Any], viewport: dict[str, int], dark: bool
) -> None:
    app = site_app(whole, Tokens())
    with listening(app) as url:
        walk = Walk(app, visit(url, viewport, dark), url)
        walk.everywhere()
        for beginning in STRANGERS:
            texts = [
                text for address, text in walk.texts.items() if urlsplit(address).path.startswith(beginning)
            ]
            offered = any(route.path.startswith(beginning) for route in walk.routes)
            assert not offered or any(HOSTILE[0] in text for text in texts), (
                f"no text of strangers: {beginning}"
            )
        others = {
            route.path
            for route in walk.routes
            if "GET" in route.methods and not route.include_in_schema and route.path not in NO_PAGES
        }
        assert others <= set(walk.reached), f"no link leads to {sorted(others - set(walk.reached))}"
        walk.page.close()


def test_an_error_is_a_page_too(whole: Site, chromium: Any) -> None:
    with listening(site_app(whole, Tokens())) as url:
        page = chromium.new_page(viewport=PHONE)
        answer = page.goto(f"{url}%3Cimg%20src=x%20onerror=document.body.dataset.hacked=1%3E")
        assert answer.status == 404 and answer.headers["content-security-policy"] == POLICY
        audit(page)
        assert page.evaluate("document.body.dataset.hacked") is None
        page.close()


def test_each_route_is_in_the_schema_or_a_page(whole: Site) -> None:
    """What programs may call is documented; what is left are pages, and what only these use."""
    app = site_app(whole, Tokens())
    documented = app.openapi()["paths"]
    with listening(app) as url:
        for route in app.routes:
            if not isinstance(route, APIRoute) or route.path in NO_PAGES:
                continue
            if route.include_in_schema:
                path = re.sub(r":path(?=\})", "", route.path)
                assert set(map(str.lower, route.methods)) <= set(documented[path]), path
            elif "GET" in route.methods and "{" not in route.path:
                accept = {"accept": "text/html"}
                answer = httpx.get(f"{url.rstrip('/')}{route.path}", headers=accept, follow_redirects=True)
                assert answer.status_code == 200 and "text/html" in answer.headers["content-type"], route.path
        assert json.loads(httpx.get(f"{url}openapi.json").text) == json.loads(json.dumps(app.openapi()))
