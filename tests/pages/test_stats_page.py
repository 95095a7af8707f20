"""The page of a catalog's statistics: every figure, every credit, nothing from the network, and no text that acts."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from commoncanvas.catalog import Catalog, curate
from commoncanvas.core.errors import CatalogError, CommonCanvasError
from commoncanvas.images.image import encode_image
from commoncanvas.pages.histogram import histogram, short, trimmed, window
from commoncanvas.pages.stats_page import write_stats_page
from commoncanvas.table.schema import COUNTRY, to_batch

from .test_report import CHROMIUM, FLAGS, Page

EVIL = '"><script>alert(1)</script><img src=x onerror=alert(2)>\x1b[31m'
LICENSES = ["CC-BY-4.0", "CC-BY-NC-2.0", "CC-BY-ND-2.0", "unknown", None, "all-rights-reserved"]
COUNTRIES = ["DE", "FR", "JP", "BR", "US", "KE", "NZ"]
SECTIONS = ("policies", "licences", "people", "plots", "dropped", "sheet", "columns")


def magenta(number: int, width: int = 300, height: int = 200) -> bytes:
    array = np.full((height, width, 3), (255, number % 8, 255), np.uint8)
    return encode_image(array, "jpeg")


def rows(count: int = 120, fetched: bool = True) -> list[dict[str, Any]]:
    return [
        {
            "image_id": f"s:{number}",
            "source": "s",
            "license": LICENSES[number % 6],
            "creator": f"Ada {number % 30}",
            "creator_url": f"https://people.example/{number % 30}",
            "page_url": f"https://photos.example/{number}",
            "title": f"Photo no. {number}",
            "camera": f"Canon {number % 3}",
            "country": COUNTRIES[number % 7] if number % 3 else None,
            "taken_at": f"20{10 + number % 9}-05-05T00:00:00Z",
        }
        | (
            {
                "fetch_status": "ok",
                "image": magenta(number),
                **dict(zip(("width", "height"), (300, 200), strict=True)),
                "original_width": 1200,
                "original_height": 800,
            }
            if fetched and number % 2
            else {"fetch_status": "timeout" if number % 4 else None}
        )
        for number in range(count)
    ]


def made(path: Path, listed: list[dict[str, Any]]) -> Catalog:
    catalog = Catalog.create(path)
    for row in listed:
        row["taken_at"] = datetime.fromisoformat(row["taken_at"]) if "taken_at" in row else None
    catalog.add_columns([COUNTRY])
    catalog.add([to_batch(listed, [COUNTRY])])
    return catalog


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    catalog = made(tmp_path_factory.mktemp("catalog") / "photos.lance", rows())
    curate(catalog, min_side=100, where="creator <> 'Ada 1'", name="c-v1")
    return catalog


@pytest.fixture(scope="module")
def page(catalog: Catalog, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "new" / "stats.html"
    write_stats_page(catalog, path)
    return path


def test_the_page_loads_nothing_and_is_well_formed(page: Path) -> None:
    html = page.read_text(encoding="utf-8")
    parsed = Page(html)
    for tag, attributes in parsed.elements:
        assert tag not in ("script", "iframe", "object", "embed", "base", "form")
        for name in ("src", "srcset", "href", "data"):
            if tag != "a" and attributes.get(name) is not None:
                assert str(attributes[name]).startswith("data:")
    assert not re.search(r"@import|url\(", html)
    assert len(parsed.ids) == len(set(parsed.ids)) and set(SECTIONS) <= set(parsed.ids)


def test_the_figures_of_the_command_are_on_the_page(catalog: Catalog, page: Path, tmp_path: Path) -> None:
    found = write_stats_page(catalog, tmp_path / "again.html")
    assert (tmp_path / "again.html").read_bytes() == page.read_bytes()
    text = Page(page.read_text(encoding="utf-8")).text
    assert "120 images" in text and "by 30 creators" in text and "under 6 licences" in text
    assert "CommonCanvas · catalog version" in text and "CommonCatalog" not in text
    for name in ("CC BY 4.0", "CC BY-NC 2.0", "not stated", "All rights reserved", "Canon 2", "1,200 × 800"):
        assert name in text
    assert [found.commercial, found.noncommercial, found.by_policy["neither"].images] == [20, 40, 80]
    assert "20 of 30 creators" in text and "timeout" in text and "Filter c-v1" in text
    assert "7 known countries" in text and re.search(r"unknown\s*40\s*33", text)
    assert (sum(found.countries.values()), found.no_country) == (80, 40)
    (filter,) = found.dropped.filters
    assert [step.noncommercial for step in filter.steps] == [60, 40, 0, 4] and filter.noncommercial == 16
    assert "not creator <> 'Ada 1'" in text


def test_thumbnails_are_of_stored_images_that_anyone_may_use_each_credited(
    catalog: Catalog, page: Path, tmp_path: Path
) -> None:
    parsed = Page(page.read_text(encoding="utf-8"))
    shown = [attributes["alt"] for tag, attributes in parsed.elements if tag == "img"]
    may = [number for number in range(120) if number % 2 and LICENSES[number % 6] in LICENSES[:3]]
    assert sorted(shown) == sorted(f"Photo no. {number}" for number in may)
    hrefs = {attributes.get("href") for tag, attributes in parsed.elements if tag == "a"}
    for number in may:
        assert {f"https://photos.example/{number}", f"https://people.example/{number % 30}"} <= hrefs
    assert "https://creativecommons.org/licenses/by-nc/2.0/" in hrefs
    sheets = []
    for seed in (1, 1, 2):
        write_stats_page(catalog, tmp_path / "few.html", seed=seed, thumbnails=5)
        few = Page((tmp_path / "few.html").read_text(encoding="utf-8"))
        sheets.append([attributes["alt"] for tag, attributes in few.elements if tag == "img"])
    assert len(set(sheets[0])) == 5 and sheets[0] == sheets[1] != sheets[2]


def test_hostile_text_stays_text(tmp_path: Path) -> None:
    listed = rows(8)
    for row in listed:
        row |= {"title": EVIL, "creator": EVIL, "camera": EVIL, "source": EVIL, "license": "CC-BY-4.0"}
        row |= {"page_url": "javascript:alert(3)", "license_url": "data:text/html,x"}
        row |= {"creator_url": 'https://a.example/"onmouseover="alert(4)'}
    listed[0] |= {"license": EVIL, "fetch_status": EVIL}
    catalog = made(tmp_path / "<b>evil.lance", listed)
    write_stats_page(catalog, tmp_path / "page.html", where="title <> '<script>alert(5)</script>'")
    html = (tmp_path / "page.html").read_text(encoding="utf-8")
    page = Page(html)
    assert page.text.count("<script>alert(1)</script>") > 10 and "<b>evil.lance" in page.text
    assert "\x1b" not in html
    for tag, attributes in page.elements:
        assert tag not in ("script", "b") and not [name for name in attributes if name.startswith("on")]
        assert not str(attributes.get("href", "")).lower().startswith(("javascript:", "data:text"))


def test_a_catalog_with_nothing_in_it_has_a_page_too(tmp_path: Path) -> None:
    catalog = Catalog.create(tmp_path / "empty.lance")
    found = write_stats_page(catalog, tmp_path / "page.html")
    page = Page((tmp_path / "page.html").read_text(encoding="utf-8"))
    assert "Some images were left out" not in page.text
    assert found.rows == 0 and "0 images" in page.text and "lets anyone use it is stored yet" in page.text
    assert "plots" not in page.ids


def test_a_catalog_with_none_fetched_says_so(tmp_path: Path) -> None:
    catalog = made(tmp_path / "c.lance", rows(fetched=False))
    write_stats_page(catalog, tmp_path / "page.html")
    page = Page((tmp_path / "page.html").read_text(encoding="utf-8"))
    assert "lets anyone use it is stored yet" in page.text and "not fetched yet" in page.text
    assert "Some images were left out" in page.text
    assert not [tag for tag, _ in page.elements if tag == "img"]


def test_a_stored_image_that_can_not_be_read_costs_its_thumbnail_only(tmp_path: Path) -> None:
    listed = [{**row, "license": "CC0-1.0"} for row in rows(12)]
    listed[1]["image"] = b"no image"
    listed[3]["image"] = None
    catalog = made(tmp_path / "c.lance", listed)
    write_stats_page(catalog, tmp_path / "page.html")
    page = Page((tmp_path / "page.html").read_text(encoding="utf-8"))
    assert len([tag for tag, _ in page.elements if tag == "img"]) == 4
    assert "4 random images" in page.text


def test_a_place_that_can_not_be_written_is_one_line(catalog: Catalog, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CommonCanvasError, match=r"stats\.html can't be written"):
        write_stats_page(catalog, tmp_path / "file" / "stats.html")


def test_a_seed_that_draws_nothing_is_one_line(catalog: Catalog, tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match="seed -1 is negative; give 0 or more"):
        write_stats_page(catalog, tmp_path / "stats.html", seed=-1)


def test_the_command_prints_figures_and_writes_the_page_of_its_filter_and_seed(
    catalog: Catalog, tmp_path: Path
) -> None:
    words = [
        "catalog",
        "stats",
        "--catalog",
        catalog.uri,
        "--where",
        "license = 'CC-BY-NC-2.0'",
        "--seed",
        "3",
    ]
    page = tmp_path / "stats.html"
    command = [sys.executable, "-m", "commoncanvas", *words, "--html", str(page), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["by_policy"]["noncommercial"]["images"] == 20
    assert str(page) in done.stderr.replace("\n", "")
    html = page.read_text(encoding="utf-8")
    assert "license = &#39;CC-BY-NC-2.0&#39;" in html and "(seed 3)" in html


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
@pytest.mark.parametrize("width", [1200, 390])
def test_chromium_shows_every_section_without_an_error(page: Path, tmp_path: Path, width: int) -> None:
    """Every section has a height, nothing is wider than the window, and thumbnails and bars are painted."""
    measured = tmp_path / "measured.html"
    script = """<script>addEventListener("load", () => {
      const heights = [...document.querySelectorAll("section")].map(each => each.id + "=" + each.clientHeight)
      const loaded = [...document.images].filter(each => each.naturalWidth > 0).length
      document.body.dataset.seen = heights + ";" + loaded + ";" + document.documentElement.scrollWidth
    })</script>"""
    html = page.read_text(encoding="utf-8")
    measured.write_text(html.replace("</head>", f"{script}</head>"), encoding="utf-8")
    command = [str(CHROMIUM), *FLAGS, f"--window-size={width},9000"]
    for more, shown in ((f"--screenshot={tmp_path / 'page.png'}", page), ("--dump-dom", measured)):
        profile = f"--user-data-dir={tmp_path / more[2:6]}"
        ran = subprocess.run(
            [*command, profile, more, shown.as_uri()], capture_output=True, text=True, timeout=120, check=True
        )
        assert "CONSOLE" not in ran.stderr, ran.stderr
    seen = re.search(r'data-seen="([^"]*)"', ran.stdout)
    assert seen
    heights, loaded, scroll_width = seen[1].split(";")
    sections = dict(each.split("=") for each in heights.split(","))
    assert set(sections) == set(SECTIONS) and all(int(height) > 60 for height in sections.values())
    assert int(loaded) == 20
    assert int(scroll_width) <= max(width, 500)  # Chromium makes no window narrower than 500
    with Image.open(tmp_path / "page.png") as image:
        red, green, blue = np.moveaxis(np.asarray(image.convert("RGB")).astype(int), 2, 0)
    assert ((red > 240) & (green < 30) & (blue > 240)).sum() > 20 * 60 * 40, "thumbnails are not to be seen"
    accent = (abs(red - 0x0B) < 4) & (abs(green - 0x6B) < 4) & (abs(blue - 0x50) < 4)
    assert accent.sum() > 10_000, "bars are not to be seen"


COUNTS = st.dictionaries(st.integers(1, 9999), st.integers(1, 10**9), max_size=30)


@given(COUNTS)
def test_no_image_is_lost_between_the_years_and_their_bars(years: dict[int, int]) -> None:
    bars = window(years, now=2026)
    assert sum(count for _, count in bars) == sum(years.values())
    assert len(bars) <= 42
    for name, count in bars:
        if not name.startswith(("<", ">")):
            assert years.get(int(name), 0) == count


@given(st.lists(st.tuples(st.text("0129:<", max_size=6), st.integers(0, 10**12)), max_size=60))
def test_every_bar_is_inside_its_picture_and_as_high_as_its_count(bars: list[tuple[str, int]]) -> None:
    svg = Page(histogram(bars, "<title>"))
    heights = [float(str(each["height"])) for tag, each in svg.elements if tag == "rect"]
    places = [
        float(str(each["x"])) + float(str(each["width"])) for tag, each in svg.elements if tag == "rect"
    ]
    assert len(heights) == len(bars) and all(0 <= place <= 640 for place in places)
    for (_, one), first in zip(bars, heights, strict=True):
        for (_, other), second in zip(bars, heights, strict=True):
            assert one <= other or first >= second
        assert (first > 0) == (one > 0)
    assert sum(len(name) > 0 for name, _ in trimmed(bars)) <= len(bars)


def test_counts_over_bars_stay_short() -> None:
    asked = [0, 999, 1000, 1249, 9949, 9950, 12_345, 999_499, 999_500, 3_400_000, 2 * 10**9]
    assert [short(count) for count in asked] == [
        "0", "999", "1.0k", "1.2k", "9.9k", "10k", "12k", "999k", "1.0M", "3.4M", "2.0G",
    ]  # fmt: skip
