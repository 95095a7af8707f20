"""The pages of runs in Chromium: curves that grow while people look, read by pointer, keys and screen readers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from commoncanvas.images.grid import save_grid
from commoncanvas.site.parts import Site
from tests.site.conftest import Open
from tests.site.runs import entry, lines, silent, write_run
from tests.web.browser import HOSTILE, PHONE, audit

pytestmark = pytest.mark.slow
Visit = Callable[..., Any]
LOSS = "[role=slider][aria-label='Loss by step']"


def value(page: Any, which: str = LOSS) -> str:
    return str(page.locator(which).get_attribute("aria-valuetext"))


def shown_value(page: Any, text: str) -> None:
    page.wait_for_function(
        "([which, text]) => document.querySelector(which)?.getAttribute('aria-valuetext').startsWith(text)",
        arg=[LOSS, text],
        timeout=60_000,
    )


def test_a_page_follows_a_log_that_grows_and_is_replaced(opened: Open, visit: Visit, tmp_path: Path) -> None:
    run = write_run(tmp_path / "a")
    page = visit(f"{opened(Site(runs=(run,)))}runs/a")
    shown_value(page, "step 500:")
    page.evaluate("window.opened = 1")
    page.locator("#cell-1").click()
    page.locator("#close").wait_for()
    page.locator("#cell-1").focus()
    log = run / "log.jsonl"
    with log.open("a") as file:
        file.write(lines([entry(510), entry(520)])[:-5])
    save_grid([Image.new("RGB", (8, 8))] * 2, ["a deer", "a red car"], run / "samples" / "step-00000300.png")
    shown_value(page, "step 510:")
    page.locator("span:text-is('step 300')").wait_for()
    assert page.evaluate("document.activeElement.id") == "cell-1"
    with log.open("a") as file:
        file.write(lines([entry(510), entry(520)])[-5:])
    shown_value(page, "step 520:")
    # A resumed training drops what came after its checkpoint.
    log.write_text(lines(entry(step) for step in range(10, 410, 10)))
    shown_value(page, "step 400:")
    log.write_text(lines(entry(step) for step in range(10, 1010, 10)))
    page.locator("strong:text('finished')").wait_for()
    assert page.evaluate("window.opened") == 1
    assert "1,000 at step" not in page.inner_text("main") and "at step 1,000" in page.inner_text("main")


def test_values_are_read_by_keys_and_by_the_pointer_in_all_plots(
    opened: Open, visit: Visit, tmp_path: Path
) -> None:
    with (write_run(tmp_path / "a") / "log.jsonl").open("a") as file:
        file.write(lines([{"step": 250, "validation_loss": 0.5}, {"step": 500, "validation_loss": 0.4}]))
    silent(tmp_path / "a")
    page = visit(f"{opened(Site(runs=(tmp_path,)))}runs/a")
    shown_value(page, "step 500:")
    page.locator(LOSS).focus()
    for key, step in (("ArrowLeft", 490), ("PageDown", 440), ("Home", 10), ("ArrowRight", 20), ("End", 500)):
        page.keyboard.press(key)
        assert value(page).startswith(f"step {step}:"), key
        rate = value(page, "[aria-label='Learning rate by step']").removeprefix(f"step {step}: ")
        assert float(rate) == pytest.approx(1e-3 * (1 - step / 2000), rel=0.01)
    assert value(page).endswith("; held out 0.4") and "smoothed" in value(page)
    page.keyboard.press("Home")
    before = page.locator(LOSS).inner_html()
    page.locator("#smoothing").select_option(label="none")
    assert "smoothed" not in value(page)
    page.locator("#scale").select_option("log")
    assert page.locator(LOSS).inner_html() != before
    box = page.locator(LOSS).bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 80)
    middle = int(value(page).removeprefix("step ").partition(":")[0])
    assert 200 < middle < 300
    page.mouse.move(0, 0)
    assert value(page).startswith("step 500:")


def test_runs_are_compared_in_one_plot_and_by_their_recipes(
    opened: Open, visit: Visit, tmp_path: Path
) -> None:
    write_run(tmp_path / "a")
    write_run(tmp_path / "b", range(10, 810, 10), seed=18)
    page = visit(f"{opened(Site(runs=(tmp_path,)))}runs/a")
    shown_value(page, "step 500:")
    assert page.locator(f"{LOSS} .line").count() == 1
    page.get_by_role("checkbox", name="b").check()
    page.get_by_role("button", name="Compare").click()
    shown_value(page, "step 500: a")
    assert page.locator(f"{LOSS} .line").count() == 2
    page.locator(LOSS).press("End")
    assert "a 0.6" in value(page) and "; b " in value(page)
    assert page.locator("tr:has-text('seed')").inner_text().split() == ["seed", "17", "18"]
    page.locator("#before").click()
    page.locator("#after").wait_for()
    assert page.locator(f"{LOSS} .line").count() == 2 and "with=b" in page.url


def test_samples_go_through_time_by_keys(opened: Open, visit: Visit, tmp_path: Path) -> None:
    write_run(tmp_path / "a")
    page = visit(f"{opened(Site(runs=(tmp_path,)))}runs/a")
    shown_value(page, "step 500:")
    page.locator("#step").focus()
    page.keyboard.press("ArrowLeft")
    page.locator("strong:text-is('100')").wait_for()
    assert page.locator("#step").get_attribute("aria-valuetext") == "step 100"
    page.locator("#cell-1").press("Enter")
    page.locator("h3:has-text('a red car at all steps')").wait_for()
    assert page.evaluate("document.activeElement.id") == "cell-1"
    page.wait_for_function(
        "[...document.querySelectorAll('#samples img')].every((each) => each.complete && each.naturalWidth === 144)"
    )
    page.reload()
    assert page.locator("h3:has-text('a red car at all steps')").count() == 1


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("viewport", [PHONE, {"width": 1280, "height": 800}])
def test_hostile_runs_are_shown_as_text(
    opened: Open, visit: Visit, tmp_path: Path, viewport: dict[str, int], dark: bool
) -> None:
    names = [text.replace("/", "|")[:200] for text in HOSTILE]
    for name in names:
        try:
            run = write_run(tmp_path / name, prompts=HOSTILE, name=HOSTILE[0])
        except OSError:  # longer than names of files may be
            continue
        with (run / "log.jsonl").open("a") as file:
            file.write(lines([entry(600, **{HOSTILE[0]: 1.0, HOSTILE[1]: 2.0}), entry(610, note=HOSTILE[7])]))
    url = opened(Site(runs=(tmp_path,)))
    page = visit(f"{url}runs", viewport, dark)
    audit(page)
    assert "<img src=x onerror" in page.inner_text("main")
    page.locator("tbody a").first.click()
    page.locator(LOSS).wait_for()
    for box in page.get_by_role("checkbox").all()[:2]:
        box.check()
    page.get_by_role("button", name="Compare").click()
    page.locator("#cell-1").click()
    page.locator("#close").wait_for()
    page.locator(LOSS).press("ArrowLeft")
    audit(page)
    text = page.inner_text("main")
    assert "</script><script>" in text and "\u202e" not in text


def test_a_page_without_javascript_has_all_but_the_curves(opened: Open, visit: Visit, tmp_path: Path) -> None:
    write_run(tmp_path / "a")
    page = visit(f"{opened(Site(runs=(tmp_path,)))}runs/a", java_script_enabled=False)
    text = page.inner_text("main")
    assert "The curves need JavaScript" in text and "Learning rate" in text and '"step": 500' in text
    assert page.locator("#samples img").count() == 2
    page.locator("#before").click()
    assert "Step 100" in page.inner_text("#samples")
