"""The page Draw in Chromium, as people use it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from commoncanvas.catalog import Catalog
from commoncanvas.options.serve import ServeOptions
from commoncanvas.site.parts import Drawing, Site
from tests.memorisation.conftest import learned as learned  # a fixture
from tests.serving.test_server import Slow
from tests.site.conftest import Open, drawing_of
from tests.site.test_draw import pixels
from tests.web.browser import DESK, HOSTILE, PHONE, audit, picture

pytestmark = pytest.mark.slow
PICTURES = Path(os.environ.get("PICTURES", "/nowhere"))
Visit = Callable[..., Any]


@pytest.fixture
def slow_steps(model: Path, monkeypatch: pytest.MonkeyPatch) -> Drawing:
    """The tiny model. Each of its steps takes as long as one can see."""
    made = drawing_of(model)
    painter = made.studio.engine.model.painter
    draw = painter.images

    def slowly(*args: Any, on_step: Any, **options: Any) -> Any:
        def waiting(*step: Any) -> None:
            time.sleep(0.08)
            on_step(*step)

        return draw(*args, on_step=waiting, **options)

    monkeypatch.setattr(painter, "images", slowly)
    return made


def until(page: Any, expression: str, seconds: float = 60) -> None:
    """Playwright's own waiting needs `eval`, which the pages' policy forbids."""
    end = time.monotonic() + seconds
    while not page.evaluate(expression):
        assert time.monotonic() < end, f"not so: {expression}"
        page.wait_for_timeout(30)


def look(page: Any, name: str) -> None:
    """A screenshot for people, if PICTURES names a folder."""
    if PICTURES.is_dir():
        picture(page, PICTURES / f"{name}.png")


def downloaded(page: Any) -> np.ndarray:
    with page.expect_download() as download:
        page.locator("a[download]").first.click()
    return pixels(Path(download.value.path()).read_bytes())


def test_a_keyboard_is_enough_to_draw_watch_and_draw_the_same_again(
    opened: Open, slow_steps: Drawing, visit: Visit
) -> None:
    url = opened(Site(slow_steps))
    page = visit(f"{url}draw?steps=25")
    audit(page)
    assert page.evaluate("document.activeElement.id") == "prompt"
    page.keyboard.type("a red dot")
    page.keyboard.press("Enter")
    until(page, "document.querySelector('progress')?.value > 2")
    assert "Step" in page.inner_text(".now")
    until(
        page,
        """() => { const canvas = document.querySelector("canvas"); if (!canvas) return false;
        return canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data.some((each) => each); }""",
    )
    audit(page)
    look(page, "draw-progress")
    page.locator(".sheet > img").wait_for()
    until(page, "document.getElementById('said').textContent.includes('Picture 1 of 1 is done')")
    first = downloaded(page)
    query = parse_qs(urlsplit(page.url).query)
    assert query["prompt"] == ["a red dot"] and query["seed"]
    look(page, "draw-done")

    other = visit(page.url, PHONE, dark=True)
    other.locator(".sheet > img").wait_for()
    assert np.array_equal(downloaded(other), first), "the link draws the same picture"
    audit(other)
    look(other, "draw-phone")
    other.reload()
    other.locator(".sheet > img").wait_for()
    assert other.locator(".picture").count() == 1, "a reload neither loses nor draws a picture again"

    again = page.get_by_role("button", name="Same settings, new seed: a red dot")
    again.focus()
    page.keyboard.press("Enter")
    page.locator(".sheet > img").nth(1).wait_for()
    assert not np.array_equal(downloaded(page), first), "the newest one comes first"
    use = page.get_by_role("button", name="Use these settings: a red dot").last
    use.focus()
    page.keyboard.press("Enter")
    assert page.input_value("#seed") == query["seed"][0]
    page.keyboard.press("Enter")  # the prompt has the focus
    page.locator(".sheet > img").nth(2).wait_for()
    assert np.array_equal(downloaded(page), first)
    page.go_back()
    assert page.input_value("#seed") != query["seed"][0]


def test_what_is_cancelled_is_not_drawn(opened: Open, slow_steps: Drawing, visit: Visit) -> None:
    page = visit(f"{opened(Site(slow_steps))}draw")
    page.click("summary")
    page.fill("#steps", "100")
    page.fill("#n", "2")
    page.fill("#prompt", "a bar")
    page.locator("#prompt").press("Enter")
    until(page, "document.querySelector('progress')?.value > 0")
    page.get_by_role("button", name="Cancel: a bar").click()
    page.get_by_text("Cancelled").first.wait_for()
    audit(page)
    engine = slow_steps.studio.engine
    end = time.monotonic() + 30
    while not engine.finished() and time.monotonic() < end:
        time.sleep(0.02)
    assert engine.finished() and page.locator(".sheet > img").count() == 0
    page.get_by_role("button", name="Remove all pictures from this page").click()
    assert page.locator("#wall > li").count() == 0


def test_a_busy_server_is_asked_again_until_it_draws(
    opened: Open, model: Path, chromium: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawing = drawing_of(model, limits=ServeOptions(queue=1))
    url = opened(Site(drawing))
    slow = Slow(drawing.studio, monkeypatch)  # type: ignore[arg-type]
    context = chromium.new_context(viewport=DESK)
    page = context.new_page()  # `visit` takes Chromium's line about 429 for an error of the page
    page.goto(f"{url}draw")
    for number, prompt in enumerate(("first", "second", "third"), 1):
        page.fill("#prompt", prompt)
        page.locator("#prompt").press("Enter")
        until(page, f"document.querySelectorAll('#wall > li').length == {number}")
        if number == 1:
            page.wait_for_timeout(300)
        if number == 2:
            page.get_by_text("Waiting: next").first.wait_for()
    assert slow.batches
    page.get_by_text("The server is busy: again in").wait_for()
    look(page, "draw-busy")
    slow.go.set()
    page.locator(".sheet > img").nth(2).wait_for(timeout=60_000)
    context.close()


def hostile(model: Path, catalog: Catalog) -> None:
    """Give training images the titles and creators of strangers, and the model their texts."""
    for number, text in enumerate(HOSTILE):
        value = "'" + text.replace("'", "''") + "'"
        catalog.dataset.update(
            {"title": value, "creator": value, "creator_url": "'javascript:document.body.dataset.hacked=1'"},
            f"image_id >= 'shapes:{3 * number:02}' AND image_id < 'shapes:{3 * number + 3:02}'",
        )
    catalog.refresh()
    rows = pq.read_table(model / "rows.parquet")
    short = ("<img src=x onerror=alert(1)>", HOSTILE[4], HOSTILE[5])  # long ones are no prompts to try
    texts = [short[number % 3] for number in range(len(rows))]
    place = rows.schema.get_field_index("text")
    pq.write_table(rows.set_column(place, "text", pa.array(texts)), model / "rows.parquet")


def test_texts_of_strangers_are_shown_as_text(
    opened: Open, learned: Path, tmp_path: Path, visit: Visit
) -> None:
    catalog = Catalog.open(tmp_path / "catalog.lance")
    hostile(learned, catalog)
    site = {"ours": catalog}
    url = opened(Site(drawing_of(learned, catalogs=site), catalogs=site))
    data = catalog.take(np.array([0], np.uint64), ["image"])["image"][0].as_py()
    for name, viewport, dark in (("desk", DESK, False), ("phone", PHONE, True)):
        page = visit(f"{url}health", viewport, dark)
        page.route("**/images/ours/**", lambda route: route.fulfill(body=data, content_type="image/png"))
        page.goto(f"{url}draw")
        assert page.locator("#try button").count() == 3
        for prompt in HOSTILE if name == "desk" else HOSTILE[-2:]:
            page.fill("#prompt", prompt)
            before = page.locator("#wall > li").count()
            page.locator("#prompt").press("Enter")
            until(page, f"document.querySelectorAll('#wall > li').length == {before + 1}")
        count = page.locator("#wall > li").count()
        until(page, f"document.querySelectorAll('.nearest').length == {count}", 240)
        audit(page)
        look(page, f"draw-hostile-{name}")
        shown = page.inner_text("#wall")
        assert "<img src=x onerror" in shown and "{{ 7 * 7 }}" in (shown if name == "desk" else "{{ 7 * 7 }}")
        assert page.locator("#wall .nearest a[href^=javascript]").count() == 0
        assert page.locator("#wall .nearest bdi").count() >= 4 * count
        page.reload()
        until(page, f"document.querySelectorAll('.nearest').length == {count}")
