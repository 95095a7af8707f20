"""The page Catalog searches by meaning, where the catalog has vectors and the server the encoder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from commoncanvas.catalog import Catalog, index
from commoncanvas.models import minilm
from commoncanvas.site.parts import Site
from commoncanvas.site.search import pages
from tests.catalog.meanings import Kinds
from tests.catalog.test_search import small
from tests.site.conftest import Open
from tests.site.test_search import ready
from tests.web.browser import DESK, HOSTILE, PHONE, audit, picture

CHOICE = '<select id="by"'
ROWS = [
    *({"title": f"kitten {number}", "license": "CC0-1.0"} for number in range(80)),
    {"title": "a hound", "license": "CC0-1.0"},
    {"title": "a vehicle", "license": "CC-BY-4.0"},
    *({"title": text} for text in HOSTILE),
]


@pytest.fixture
def catalog(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Catalog:
    monkeypatch.setattr(pages, "MiniLM", Kinds)
    made = small(tmp_path, *ROWS)
    index(made, meaning=Kinds())
    return made


def test_the_server_finds_the_nearest_in_meaning_page_by_page(opened: Open, catalog: Catalog) -> None:
    url = opened(Site(catalogs={"cc": catalog}))
    asked = f"{url}search?by=meaning&q=dog"
    first = httpx.get(asked).json()
    assert (first["order"], first["images"][0]["title"]) == ("meaning", "a hound")
    assert first["sentence"] == f"{first['total']} images, nearest in meaning first."
    rest = httpx.get(f"{asked}&start=60&version={first['version']}").json()
    seen = [each["image_id"] for each in (*first["images"], *rest["images"])]
    assert len(set(seen)) == first["total"] == catalog.count("meaning_kinds IS NOT NULL")
    assert httpx.get(f"{asked}&license=CC-BY-4.0").json()["total"] == 1
    page = httpx.get(f"{url}catalog?by=meaning&q=dog").text
    assert 'value="meaning" selected' in page and "q=dog&amp;by=meaning&amp;start=60" in page


def test_the_choice_is_there_only_where_it_can_be_answered(
    opened: Open, catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "other").mkdir()
    without = small(tmp_path / "other", {"title": "a cat"})
    assert CHOICE in httpx.get(f"{opened(Site(catalogs={'cc': catalog}))}catalog").text
    url = opened(Site(catalogs={"without": without}))
    assert CHOICE not in httpx.get(f"{url}catalog").text
    for path in ("catalog", "search"):
        answer = httpx.get(f"{url}{path}?by=meaning&q=cat")
        assert answer.status_code == 400 and "t be searched by meaning; search by words" in answer.text
    monkeypatch.setattr(pages, "MiniLM", minilm.MiniLM)
    monkeypatch.setattr(minilm, "PACKAGES", ("no_such_package",))
    assert CHOICE not in httpx.get(f"{opened(Site(catalogs={'cc': catalog}))}catalog").text


def says(page: Any, text: str) -> None:
    page.wait_for_function("text => document.getElementById('found').textContent.includes(text)", arg=text)


@pytest.mark.slow
@pytest.mark.parametrize("dark", [False, True])
def test_people_choose_to_search_by_meaning(
    opened: Open, catalog: Catalog, visit: Any, tmp_path: Path, dark: bool
) -> None:
    url = opened(Site(catalogs={"cc": catalog}))
    for viewport in (PHONE, DESK):
        page = visit(f"{url}catalog", viewport, dark)
        ready(page, f"{len(ROWS)} images")
        page.fill("#q", "dog")
        page.keyboard.press("Enter")
        says(page, "No image matches")
        page.get_by_label("Search by", exact=True).select_option("by meaning")
        says(page, "images, nearest in meaning first")
        assert page.locator("#wall cite").first.text_content() == "a hound"
        assert "by=meaning" in page.url and "q=dog" in page.url
        audit(page)
        picture(page, tmp_path / f"meaning-{viewport['width']}-{dark}.png")
        page.reload()
        says(page, "images, nearest in meaning first")
        assert page.input_value("#by") == "meaning"
        page.go_back()
        says(page, "No image matches")
        assert page.input_value("#by") == ""
