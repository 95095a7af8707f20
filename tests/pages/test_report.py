"""The report is one file that shows every figure, asks for nothing from the network, and trusts no text."""

from __future__ import annotations

import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from commoncanvas.core.numbers import duration, figure, percent
from commoncanvas.core.text import web_address
from commoncanvas.pages.report import bars, facts, picture, write_report

from .example import example

VOID = {"meta", "link", "img", "br", "hr", "input"}
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--enable-logging=stderr",
)


class Page(HTMLParser):
    """Elements and text; a tag that is closed out of order or left open is an error."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.ids: list[str] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(html)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        assert len(attributes) == len(attrs), f"an attribute of <{tag}> stands twice"
        self.elements.append((tag, attributes))
        self.ids += [attributes["id"] or ""] if "id" in attributes else []
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag, f"</{tag}> closes what isn't open"

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "script"):
            self.text += data


def test_the_page_loads_nothing_from_anywhere(report: Path) -> None:
    html = report.read_text(encoding="utf-8")
    for tag, attributes in Page(html).elements:
        for name in ("src", "srcset", "poster", "data", "href", "action"):
            value = attributes.get(name)
            if value is not None and tag != "a":
                assert value.startswith("data:"), f"<{tag} {name}={value[:60]}>"
        assert tag not in ("script", "iframe", "object", "embed", "base", "form")
    assert not re.search(r"@import|url\(", html)


def test_the_page_is_well_formed(report: Path) -> None:
    page = Page(report.read_text(encoding="utf-8"))
    assert len(page.ids) == len(set(page.ids))
    assert all("alt" in attributes for tag, attributes in page.elements if tag == "img")
    links = [attributes["href"] or "" for tag, attributes in page.elements if tag == "a"]
    assert all(link[1:] in page.ids for link in links if link.startswith("#"))


def test_every_figure_of_the_summary_is_on_the_page(report: Path) -> None:
    data = example()
    summary = data["summary"]
    text = Page(report.read_text(encoding="utf-8")).text
    visible = text[: text.index("All figures, as in summary.json")]
    for key, value in summary.items():
        if isinstance(value, float) and not key.startswith(("retrieval_low", "retrieval_high")):
            shown = percent(value) if key.startswith("retrieval") else figure(value)
            assert shown in visible, f"{key} {shown}"
        if isinstance(value, float):
            assert repr(value) in text, key
    assert "41–65" in visible and "3–17" in visible
    for stage in summary["stages"]:
        assert stage["name"] in visible and duration(stage["seconds"]) in visible
        assert f"{round(stage['peak_mb']):,}" in visible
    assert "4,495" in visible and "OpenMoji" in visible and "CC-BY-SA-4.0" in visible
    assert summary["filter"] in visible and "5,311,748" in visible
    assert all(prompt in visible for prompt, *_ in data["grid"])
    assert all(caption in visible for _, caption, _ in data["captions"])
    assert all(row["title"] in visible for row in data["credits"])


@pytest.mark.parametrize("network", ["U-Net", "Transformer"])
def test_the_loss_is_that_of_the_network_that_was_trained(network: str, tmp_path: Path) -> None:
    data = example()
    data["summary"]["training"]["network"] = network
    data["summary"]["stages"] = []
    html = write_report(out=tmp_path / "report.html", **data).read_text(encoding="utf-8")
    assert f"Loss of the {network} over its training steps" in html
    assert ("U-Net" in html) == (network == "U-Net")


def test_every_credit_links_its_source_creator_and_licence(report: Path) -> None:
    hrefs = [
        attributes.get("href") for tag, attributes in Page(report.read_text("utf-8")).elements if tag == "a"
    ]
    for row in example()["credits"]:
        assert {row["page_url"], row["creator_url"], row["license_url"]} <= set(hrefs)


def test_hostile_text_stays_text(tmp_path: Path) -> None:
    evil = '"><script>alert(1)</script><img src=x onerror=alert(2)>'
    data = example()
    data["grid"][0] = (evil, *data["grid"][0][1:])
    data["captions"][0] = (data["captions"][0][0], evil, evil)
    data["credits"][0] |= {"title": evil, "creator": evil, "license": evil, "page_url": "javascript:alert(3)"}
    data["credits"][1] |= {
        "creator_url": 'https://a.example/"onmouseover="alert(4)',
        "license_url": "data:text/html,x",
    }
    data["summary"] |= {"filter": evil, "creators": {evil: 3}, "licenses": {evil: 3}, "result_license": evil}
    data["summary"]["stages"][0]["name"] = evil
    data["summary"]["training"][evil] = evil
    data["catalog_stats"][evil] = {evil: 1}
    html = write_report(out=tmp_path / "report.html", **data).read_text(encoding="utf-8")
    page = Page(html)
    assert evil in page.text
    for tag, attributes in page.elements:
        assert tag != "script"
        assert not [name for name in attributes if name.startswith("on")], attributes
        assert not str(attributes.get("href", "")).lower().startswith(("javascript:", "data:text"))


def test_a_run_without_figures_still_makes_a_page(tmp_path: Path) -> None:
    empty: dict[str, object] = {"stages": [], "licenses": {}, "creators": {}}
    path = write_report(
        empty,
        out=tmp_path / "new" / "report.html",
        grid=[],
        losses={},
        catalog_stats={},
        captions=[],
        credits=[],
    )
    assert "—" in Page(path.read_text(encoding="utf-8")).text


def test_same_data_gives_the_same_bytes(report: Path, tmp_path: Path) -> None:
    assert write_report(out=tmp_path / "report.html", **example()).read_bytes() == report.read_bytes()


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
@pytest.mark.parametrize("width", [1200, 390])
def test_chromium_shows_the_page_without_an_error(report: Path, tmp_path: Path, width: int) -> None:
    picture = tmp_path / "page.png"
    command = [
        str(CHROMIUM),
        *FLAGS,
        f"--user-data-dir={tmp_path / 'profile'}",
        f"--window-size={width},2400",
    ]
    command += [f"--screenshot={picture}", report.as_uri()]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert "CONSOLE" not in ran.stderr, ran.stderr
    with Image.open(picture) as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)
    red, green, blue = pixels[..., 0], pixels[..., 1], pixels[..., 2]
    assert ((red > 180) & (green < 100) & (blue < 90)).sum() > 1000, "the apple is not to be seen"


def test_numbers_read_as_people_write_them() -> None:
    assert [figure(value) for value in (0.61272, 12.34, 4120.4, 1.377, -0.00423, None)] == [
        "0.613", "12.3", "4,120", "1.38", "-0.0042", "—",
    ]  # fmt: skip
    assert [duration(value) for value in (2.31, 9.8, 59.6, 83, 5000)] == [
        "2.3\u00a0s", "10\u00a0s", "1\u00a0min 00\u00a0s", "1\u00a0min 23\u00a0s", "1\u00a0h 23\u00a0min",
    ]  # fmt: skip
    assert facts({"images_seen": 12000, "fetch_status": {"ok": 3, "failed": 1}, "resumed": True}) == [
        ("images seen", "12,000"), ("fetch status", "ok 3 · failed 1"), ("resumed", "yes"),
    ]  # fmt: skip


def test_many_creators_are_summed_up_and_none_is_lost() -> None:
    counts = {f"creator {number}": number + 1 for number in range(500)}
    shown = bars(counts)
    assert len(shown) == 12 and sum(number for _, number, _ in shown) == sum(counts.values())
    assert all(0 < share <= 1 for *_, share in shown)


@pytest.mark.parametrize(
    "url", ["javascript:alert(1)", "data:text/html,x", "//evil.example", "http://[", "", None, "/etc"]
)
def test_only_web_addresses_become_links(url: str | None) -> None:
    assert web_address(url) is None


def test_a_picture_says_what_it_is() -> None:
    import pyvips

    drawn = pyvips.Image.black(4, 4, bands=3)
    for suffix, kind in ((".png", "png"), (".jpg", "jpeg"), (".webp", "webp")):
        assert picture(drawn.write_to_buffer(suffix)).startswith(f"data:image/{kind};base64,")


def test_names_of_figures_lose_their_underscores_and_paths_keep_them() -> None:
    values = {"images_seen": 1, "runs/my_cat_v2.lance": "version 3"}
    assert facts(values) == [("images seen", "1"), ("runs/my_cat_v2.lance", "version 3")]
