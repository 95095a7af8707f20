"""The page about what a model gives back: pairs with credits and commands, safe and readable."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from commoncanvas.catalog import Catalog
from commoncanvas.memorisation.calibration import Calibration, Share
from commoncanvas.memorisation.page import write_memorisation_page
from commoncanvas.memorisation.result import Memorisation, Pair
from tests.conftest import COLOURS, SHAPES, drawing
from tests.pages.test_report import CHROMIUM, FLAGS, Page
from tests.web.browser import DESK, PHONE, audit
from tests.web.browser import chromium as chromium
from tests.web.browser import visit as visit


@pytest.fixture
def found(shapes: Catalog, tmp_path: Path) -> Memorisation:
    """A result about the shapes: some drawn well, one of an image that is gone, one with a hostile prompt."""
    (tmp_path / "images").mkdir()
    pairs = []
    for number in range(8):
        colour, shape = COLOURS[number // 4], SHAPES[number % 4]
        Image.fromarray(drawing(colour, shape)).save(tmp_path / f"images/{number:03d}.png")
        pairs.append(
            Pair(
                prompt=f"{colour} {shape}",
                seed=number,
                file=f"images/{number:03d}.png",
                image_id=f"shapes:{number:02}",
                catalog="main",
                similarity=0.95 - number / 20,
                percentile=99.9 - number,
                copies_of=(1, 1, 25)[number] if number < 3 else 0,
                own=True,
                captions=1 + number % 2,
                pictures=1 + number % 3,
                gap=0.2,
                credit=f"“{colour} {shape}” by painter",
                at_risk=True,
            )
        )
    pairs[5] = replace(pairs[5], image_id="shapes:gone")
    pairs[6] = replace(pairs[6], prompt="<script>alert(1)</script> a very long word: " + "a" * 90)
    return Memorisation(
        model=str(tmp_path / "model"),
        catalogs={"main": {"uri": shapes.uri, "version": shapes.version}},
        fingerprint={"features": "efficientnet-lite0"},
        created="2026-11-29T12:00:00+00:00",
        out=str(tmp_path),
        calibration=Calibration(
            0.8,
            Share(1, 60),
            {"cropped": Share(90, 100), "mirrored": Share(100, 100)},
            np.zeros(60, np.float32),
        ),
        random=Share(1, 4),
        at_risk=Share(3, 4),
        given_back=3,
        trained_on=24,
        taken_down=1,
        pairs=tuple(pairs),
    )


def test_the_page_has_each_pair_with_credit_and_command(found: Memorisation, tmp_path: Path) -> None:
    write_memorisation_page(found, tmp_path / "page.html")
    html = (tmp_path / "page.html").read_text(encoding="utf-8")
    page = Page(html)
    assert not page.open and "<script>" not in html
    assert "commoncanvas catalog takedown --catalog" in page.text and "--id shapes:00" in page.text
    assert "by painter 0, CC BY 4.0" in " ".join(page.text.split())
    assert "copy of one of 25 near-twins" in page.text
    assert "no longer there" in page.text and page.text.count("drawn, seed") == 8
    assert len([name for name, _ in page.elements if name == "img"]) == 15


def test_the_result_says_what_its_figures_are_worth(found: Memorisation) -> None:
    said = " ".join(found.sentences())
    assert "3 of 24 training images were drawn again in these 8 images" in said
    assert "too few strangers to say that false alarms are under 1 %" in said
    assert "Copies that were cropped are found less often" in said and "mirrored" not in said
    assert "1 training image left the catalogs" in said
    many = replace(found, calibration=replace(found.calibration, false_alarms=Share(1, 2000)), taken_down=0)
    assert "too few" not in " ".join(many.sentences()) and "left the" not in " ".join(many.sentences())
    assert "say little" not in said and "at least" not in str(found)
    blind = replace(found, calibration=replace(found.calibration, copies={"cropped": Share(20, 100)}))
    assert "of known copies only 20.0 % (20 of 100" in next(blind.sentences())
    assert "at least 25.0 % (1 of 4" in str(blind)
    assert found.figures()["memorised"] == 0.25 and found.figures()["memorisation_copies_found"] == 0.95
    assert "random prompts" in str(found) and "copy" in str(found)


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
@pytest.mark.parametrize("width", [1280, 500])
def test_chromium_shows_the_pairs_without_an_error(found: Memorisation, tmp_path: Path, width: int) -> None:
    write_memorisation_page(found, tmp_path / "page.html")
    measured = '<script>document.title = "wide " + document.documentElement.scrollWidth</script></body>'
    html = (tmp_path / "page.html").read_text(encoding="utf-8").replace("</body>", measured)
    (tmp_path / "page.html").write_text(html, encoding="utf-8")
    command = [
        str(CHROMIUM),
        *FLAGS,
        f"--user-data-dir={tmp_path / 'profile'}",
        f"--window-size={width},3000",
    ]
    address = (tmp_path / "page.html").as_uri()
    ran = subprocess.run(
        [*command, "--dump-dom", address], capture_output=True, text=True, timeout=120, check=True
    )
    assert "CONSOLE" not in ran.stderr, ran.stderr
    scroll_width = int(ran.stdout.partition("<title>wide ")[2].partition("<")[0])
    assert scroll_width <= width
    picture = tmp_path / "page.png"
    subprocess.run(
        [*command, f"--screenshot={picture}", address], capture_output=True, timeout=120, check=True
    )
    with Image.open(picture) as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)
    assert ((pixels[..., 0] > 200) & (pixels[..., 1] < 40) & (pixels[..., 2] < 40)).sum() > 1000, (
        "no red shape"
    )


@pytest.mark.slow
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_axe_finds_nothing_serious_on_the_page(
    found: Memorisation, visit: Callable[..., Any], tmp_path: Path, dark: bool
) -> None:
    write_memorisation_page(found, tmp_path / "page.html")
    for viewport in (PHONE, DESK):
        audit(visit((tmp_path / "page.html").as_uri(), viewport, dark))
