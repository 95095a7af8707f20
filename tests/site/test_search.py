"""The page Catalog: what its server answers, and the page itself in Chromium."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import numpy as np
import pytest
from PIL import Image

from commoncanvas.catalog import Catalog, index, takedown
from commoncanvas.images.image import encode_image, phash
from commoncanvas.site.parts import Site
from commoncanvas.site.shown import picture_path
from commoncanvas.table.schema import COUNTRY, to_batch
from tests.conftest import add_shapes, drawing
from tests.site.conftest import Open
from tests.web.browser import DESK, HOSTILE, PHONE, audit, picture

MANY = 3000
SVG = "image/svg+xml"
SHOWS = "title => [...document.querySelectorAll('#wall cite')].some(each => each.textContent === title)"
FILLED = "() => !document.querySelector('#wall .waiting')"
ANSWERED = "() => document.getElementById('found').textContent || !document.getElementById('problem').hidden"


def add_many(uri: Path) -> Catalog:
    """`MANY` rows; row 7 is the only one with a picture, and with `zebra` in its title."""
    image = drawing("red", "dot")
    rows = []
    for number in range(MANY):
        has = number == 7
        rows.append(
            {
                "image_id": f"many:{number}",
                "source": "many",
                "title": f"{'zebra' if has else 'heron'} {number}",
                "creator": ("Ann", "O'Hara")[number % 2],
                "license": ("CC-BY-4.0", "CC0-1.0")[number % 2],
                "country": "FR",
                "image": encode_image(image, "png") if has else None,
                "phash": phash(image) if has else None,
            }
        )
    catalog = Catalog.create(uri)
    catalog.add_columns([COUNTRY])
    catalog.add([to_batch(rows, [COUNTRY])])
    return catalog


@pytest.fixture
def many(tmp_path: Path) -> Catalog:
    return add_many(tmp_path / "many.lance")


def pages_of(url: str) -> list[str]:
    """Titles, page by page, as a browser without JavaScript gets them."""
    from html.parser import HTMLParser

    titles: list[str] = []
    following: list[str] = [f"{url}catalog?license=CC0-1.0&q=heron"]

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            given = dict(attrs)
            if tag == "img":
                titles.append(given["alt"] or "")
            if tag == "a" and given.get("rel") == "next":
                following.append(f"{url.rstrip('/')}{given['href']}")

    while following:
        Reader().feed(httpx.get(following.pop()).text)
    return titles


def test_a_browser_without_scripts_pages_through_all_rows(opened: Open, many: Catalog) -> None:
    index(many)
    titles = pages_of(opened(Site(catalogs={"many": many})))
    assert sorted(titles) == sorted(f"heron {number}" for number in range(1, MANY, 2) if number != 7)


def test_the_script_gets_the_same_by_positions(opened: Open, many: Catalog) -> None:
    url = opened(Site(catalogs={"many": many}))
    first = httpx.get(f"{url}search?q=heron").json()
    assert (first["total"], first["sentence"]) == (MANY - 1, f"{MANY - 1:,} images, in the catalog's order.")
    far = httpx.get(f"{url}search?q=heron&start=2990&limit=240&version={first['version']}").json()
    assert [each["image_id"] for each in far["images"]] == [f"many:{number}" for number in range(2991, MANY)]
    takedown(many.uri, id=["many:2995"], reason="asked")
    import time

    from commoncanvas.table.newest import EVERY_S

    time.sleep(EVERY_S)
    again = httpx.get(f"{url}search?q=heron&start=2990&limit=240&version={first['version']}").json()
    assert [each and each["image_id"] for each in again["images"]] == [
        None if number == 2995 else f"many:{number}" for number in range(2991, MANY)
    ]


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        ("catalog?from=20x", 400, "is not a year; write it with four digits"),
        ("catalog?from=2014&to=2010", 400, "no year is from 2014 to 2010"),
        ("catalog?start=-1", 400, "start is not a number"),
        ("catalog?catalog=nothing", 404, "there is no catalog nothing; there are: cc"),
        ("search?alike=zz", 400, "drop the picture again"),
        ("search?version=99999999999999999999", 400, "version is not a number"),
        ("search?version=999999&start=9007199254740991", 200, '"images":[]'),
        ("search?q=" + "w%20x" * 90, 200, ""),
        ("search?q=" + quote(" ".join(map(str, range(20)))), 400, "20 words are too many"),
        ("images/cc/shapes%3A00?px=300", 400, "px is not one of 256, 512, 1024"),
        ("images/cc/nobody", 404, "no such image"),
        ("images/other/shapes%3A00", 404, "no such catalog"),
        ("search?creator=%00%27%20OR%201=1", 200, '"total":0'),
    ],
)
def test_what_is_wrong_gets_a_sentence(
    opened: Open, tmp_path: Path, path: str, status: int, text: str
) -> None:
    url = opened(Site(catalogs={"cc": add_shapes(tmp_path / "cc.lance")}))
    answer = httpx.get(f"{url}{path}")
    assert answer.status_code == status
    assert text in answer.text


def test_a_file_that_is_no_picture_gets_a_sentence(opened: Open, tmp_path: Path) -> None:
    url = opened(Site(catalogs={"cc": add_shapes(tmp_path / "cc.lance")}))
    for data in (
        b"",
        b"no picture",
        b"\x89PNG\r\n\x1a\n" + b"\0" * 90,
        encode_image(drawing("red", "dot"), "png")[:99],
    ):
        answer = httpx.post(f"{url}search/picture", content=data)
        assert answer.status_code == 400
        assert "can't be read as a picture" in answer.json()["error"]["message"]
    assert httpx.post(f"{url}search/picture", content=b"0" * 20_000_001).status_code == 413


def test_a_picture_is_small_and_comes_again_only_if_it_changed(opened: Open, tmp_path: Path) -> None:
    catalog = Catalog.create(tmp_path / "cc.lance")
    wide = np.zeros((300, 900, 3), np.uint8)
    rows: list[dict[str, Any]] = [
        {"image_id": "a/b:1?x", "image": encode_image(wide, "jpeg"), "sha256": "ab", "width": 900},
        {"image_id": "no-digest", "image": encode_image(wide, "jpeg")},
        {"image_id": "broken", "image": b"no picture", "sha256": "cd"},
        {"image_id": "absent"},
    ]
    catalog.add([to_batch({"source": "s", **row} for row in rows)])
    url = opened(Site(catalogs={"my pictures": catalog})).rstrip("/")
    for image_id in ("a/b:1?x", "no-digest"):
        for pixels in (256, 512):
            path = url + picture_path("my pictures", image_id, pixels)
            answer = httpx.get(path)
            assert Image.open(io.BytesIO(answer.content)).size == (pixels, pixels // 3 + (pixels == 512))
            assert answer.headers["cache-control"] == "private, max-age=300"
            again = httpx.get(path, headers={"if-none-match": answer.headers["etag"]})
            assert (again.status_code, again.content) == (304, b"")
            assert httpx.get(path).content == answer.content
    for image_id in ("broken", "absent"):
        assert httpx.get(url + picture_path("my pictures", image_id)).headers["content-type"] == SVG


def test_missing_indexes_are_named_once(
    opened: Open, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    catalog = add_shapes(tmp_path / "cc.lance")
    opened(Site(catalogs={"cc": catalog}))
    assert f"commoncanvas catalog index --catalog {catalog.uri}" in capsys.readouterr().err
    index(catalog)
    capsys.readouterr()
    opened(Site(catalogs={"cc": catalog}))
    assert "catalog index" not in capsys.readouterr().err


def ready(page: Any, text: str) -> None:
    page.wait_for_function("() => document.querySelector('#wall.laid li[aria-posinset]')")
    page.wait_for_function("text => document.getElementById('found').textContent.startsWith(text)", arg=text)
    page.wait_for_function(FILLED)


@pytest.mark.slow
def test_people_search_filter_and_scroll_to_far_rows(
    opened: Open, many: Catalog, visit: Any, tmp_path: Path
) -> None:
    index(many)
    page = visit(f"{opened(Site(catalogs={'many': many}))}catalog")
    ready(page, "3,000 images")
    assert page.locator("#wall li").count() < 60
    # The keyboard alone.
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.locator("#q").focus()
    page.keyboard.type("ZEBRA")
    page.keyboard.press("Enter")
    ready(page, "1 image, most relevant first")
    assert "q=ZEBRA" in page.url
    page.go_back()
    ready(page, "3,000 images")
    assert page.input_value("#q") == ""
    page.select_option("#license", "CC0-1.0")
    ready(page, "1,500 images")
    assert page.locator("#country option").nth(1).text_content() == "France (3,000)"
    page.fill("#number", "1400")
    page.keyboard.press("Enter")
    page.wait_for_function(SHOWS, arg="heron 2799")
    assert page.locator("#wall li").count() < 90
    page.wait_for_function("() => new URLSearchParams(location.search).get('start') > 1380")
    audit(page)
    page.reload()
    page.wait_for_function(SHOWS, arg="heron 2799")
    # A link in the wall keeps the focus while others leave the document.
    page.locator("#wall a").nth(20).focus()
    held = page.evaluate("document.activeElement.href")
    page.evaluate("scrollBy(0, -5000)")
    page.wait_for_timeout(500)
    assert page.evaluate("document.activeElement.href") == held


@pytest.mark.slow
def test_a_wall_taller_than_a_browser_lays_out_is_reached_to_its_end(
    opened: Open, tmp_path: Path, visit: Any
) -> None:
    count = 120_000
    catalog = Catalog.create(tmp_path / "cc.lance")
    catalog.add(
        to_batch(
            {"image_id": f"t:{number}", "source": "t", "title": f"t{number}"}
            for number in range(start, start + 10_000)
        )
        for start in range(0, count, 10_000)
    )
    page = visit(f"{opened(Site(catalogs={'cc': catalog}))}catalog", PHONE)
    ready(page, "120,000 images")
    assert page.evaluate("document.documentElement.scrollHeight") < 7_000_000

    def titles() -> list[str]:
        page.wait_for_timeout(400)
        page.wait_for_function(FILLED)
        return page.locator("#wall cite").all_text_contents()  # type: ignore[no-any-return]

    page.evaluate("scrollTo(0, document.documentElement.scrollHeight)")
    assert "t119999" in titles()
    page.evaluate("scrollTo(0, document.documentElement.scrollHeight / 2)")
    middle = int(titles()[0][1:])
    assert abs(middle - count / 2) < count / 20
    # Small steps go row by row, also where the wall moves to another offset.
    seen = set(map(int, (title[1:] for title in titles())))
    for _ in range(130):
        page.mouse.wheel(0, 600)
        page.wait_for_timeout(30)
    page.wait_for_timeout(300)
    after = [int(title[1:]) for title in titles()]
    assert after == list(range(after[0], after[-1] + 1))
    rows = 130 * 600 / page.evaluate("document.querySelector('#wall li').getBoundingClientRect().width + 108")
    assert abs(min(after) - min(seen) - 2 * rows) < 60


@pytest.mark.slow
def test_a_dropped_picture_finds_what_looks_like_it(
    opened: Open, many: Catalog, visit: Any, tmp_path: Path
) -> None:
    page = visit(f"{opened(Site(catalogs={'many': many}))}catalog")
    ready(page, "3,000 images")
    file = tmp_path / "dropped.png"
    Image.fromarray(drawing("red", "dot")).resize((90, 90)).save(file)
    page.set_input_files("#file", file)
    ready(page, "1 image, most alike first")
    assert page.locator("#wall cite").text_content() == "zebra 7"
    assert page.is_visible("#likeness")
    page.wait_for_function("() => document.querySelector('#wall img').naturalWidth > 0")
    page.reload()
    ready(page, "1 image, most alike first")
    page.click("#forget")
    ready(page, "3,000 images")
    data = json.dumps(list(file.read_bytes()))
    page.evaluate(
        """data => {
            const given = new DataTransfer();
            given.items.add(new File([new Uint8Array(data)], "a.png", { type: "image/png" }));
            for (const name of ["dragover", "drop"]) {
                dispatchEvent(new DragEvent(name, { dataTransfer: given, bubbles: true, cancelable: true }));
            }
        }""",
        json.loads(data),
    )
    ready(page, "1 image, most alike first")


@pytest.mark.slow
@pytest.mark.parametrize("dark", [False, True])
def test_texts_of_strangers_are_text(opened: Open, visit: Any, tmp_path: Path, dark: bool) -> None:
    catalog = Catalog.create(tmp_path / "cc.lance")
    catalog.add_columns([COUNTRY])
    rows = [
        {
            "image_id": f"h:{text[:40]}",
            "source": "h",
            "title": text,
            "description": text,
            "tags": [text],
            "creator": text,
            "creator_url": "javascript:document.body.dataset.hacked=1",
            "license": text,
            "country": text[:30],
        }
        for text in HOSTILE
    ]
    catalog.add([to_batch(rows, [COUNTRY])])
    url = opened(Site(catalogs={"cc": catalog}))
    for viewport in (PHONE, DESK):
        page = visit(f"{url}catalog", viewport, dark)
        ready(page, f"{len(HOSTILE)} images")
        audit(page)
        picture(page, tmp_path / f"hostile-{viewport['width']}-{dark}.png")
        assert page.locator("#wall a[href^='javascript:']").count() == 0
    for text in HOSTILE:
        page = visit(f"{url}catalog?q={quote(text[:300])}&creator={quote(text[:300])}", DESK, dark)
        page.wait_for_function(ANSWERED)
