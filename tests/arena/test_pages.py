"""The pages in a real browser: keys, clicks, reload, two people at once, a phone's width, hostile texts, no errors."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from commoncanvas.arena.command import build
from commoncanvas.arena.reading import read_votes
from commoncanvas.catalog import Catalog
from commoncanvas.options.arena import ArenaOptions
from tests.arena.conftest import Make
from tests.pages.test_report import CHROMIUM
from tests.web.browser import DESK, HOSTILE, PHONE, audit
from tests.web.browser import chromium as chromium

pytestmark = [pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine"), pytest.mark.slow]

SHOWN = "body[data-shown]"
FOCUSED = "document.activeElement.getAttribute('aria-label') || document.activeElement.innerText"


@pytest.fixture
def begin(chromium: Any) -> Iterator[Callable[..., Any]]:
    """Opens the pages as a new person, who agrees: `begin(url, viewport)`. An error in the console fails the test.

    Chromium itself writes there that an answer was 504, which one test makes.
    """
    contexts, said = [], []

    def opened(url: str, viewport: dict[str, int] = DESK) -> Any:
        contexts.append(chromium.new_context(viewport=viewport))
        page = contexts[-1].new_page()
        page.set_default_timeout(60_000)
        page.on("console", lambda message: said.append(message.text) if "504" not in message.text else None)
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: said.extend([] if request.url.startswith(url) else [request.url]))
        page.goto(url)
        page.get_by_label("I have read this").check()
        page.get_by_role("button", name="Begin").click()
        page.wait_for_selector(SHOWN)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert said == []


def shown(page: Any) -> str:
    return str(page.locator("body").get_attribute("data-shown"))


def act(page: Any, action: Callable[[], Any]) -> str:
    """Do something, and wait until the page shows something else."""
    before = shown(page)
    action()
    page.wait_for_selector(f"{SHOWN}:not([data-shown='{before}'])")
    return shown(page)


def press(page: Any, key: str) -> str:
    return act(page, lambda: page.keyboard.press(key))


def test_one_key_or_one_click_is_one_vote(make: Make, serve: Any, begin: Any) -> None:
    arena = make(12, checks=0.0)
    page = begin(serve(arena).url)
    for key in ("ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "1", "2", "3", "4"):
        press(page, key)
    act(page, lambda: page.get_by_role("button", name="Image 2 is better").click())
    expected = ["left", "right", "both", "neither", "left", "right", "both", "neither", "right"]
    assert [vote.answer for vote in read_votes(arena)] == expected
    assert page.locator("#count").text_content() == "10 of 12"
    for key in ("x", "Control+1", "Tab", "5"):
        page.keyboard.press(key)
    page.keyboard.press("?")
    page.keyboard.press("ArrowLeft")  # the help is open: this is no vote
    page.keyboard.press("Escape")
    assert len(read_votes(arena)) == 9
    press(page, "u")
    assert len(read_votes(arena)) == 8 and page.locator("#count").text_content() == "9 of 12"
    for _ in range(4):
        last = press(page, "1")
    assert last == "finished" and page.locator("#finished").is_visible()
    assert len(read_votes(arena)) == 12
    assert press(page, "Backspace") != "finished" and len(read_votes(arena)) == 11


def test_a_double_click_a_held_key_and_a_reload_vote_once(make: Make, serve: Any, begin: Any) -> None:
    arena = make(12, checks=0.0)
    page = begin(serve(arena).url)
    before = shown(page)
    page.reload()
    page.wait_for_selector(SHOWN)
    assert shown(page) == before, "a reload shows the same pair"
    page.route("**/api/vote", lambda route: (page.wait_for_timeout(300), route.continue_()))
    act(page, lambda: page.get_by_role("button", name="Image 1 is better").dblclick())
    page.keyboard.down("ArrowLeft")
    for _ in range(5):
        page.keyboard.down("ArrowLeft")  # as a held key does
    page.keyboard.up("ArrowLeft")
    page.wait_for_selector(f"{SHOWN}:not([data-shown='{before}'])")
    page.locator("#count", has_text="3 of 12").wait_for()
    assert len(read_votes(arena)) == 2


def test_a_lost_connection_says_so_and_the_answer_is_sent_again(make: Make, serve: Any, begin: Any) -> None:
    arena = make(6, checks=0.0)
    server = serve(arena)
    page = begin(server.url)
    lost = [True]

    def sometimes(route: Any) -> None:
        # The server stores the vote, and its answer is lost.
        if lost:
            lost.clear()
            route.fetch()
            route.fulfill(status=504, body="")
        else:
            route.continue_()

    page.route("**/api/vote", sometimes)
    page.keyboard.press("ArrowLeft")
    page.get_by_role("button", name="Try again").wait_for()
    assert page.get_by_role("alert").is_visible() and len(read_votes(arena)) == 1
    act(page, lambda: page.get_by_role("button", name="Try again").click())
    assert len(read_votes(arena)) == 1 and not page.get_by_role("alert").is_visible()
    press(page, "2")
    assert [vote.answer for vote in read_votes(arena)] == ["left", "right"]


def test_two_people_at_once_have_their_own_pairs_and_votes(make: Make, serve: Any, begin: Any) -> None:
    arena = make(8, checks=0.0)
    url = serve(arena).url
    first, second = begin(url), begin(url)
    assert first.locator("#prompt").text_content() != second.locator("#prompt").text_content()
    for _ in range(3):
        press(first, "1")
        press(second, "2")
    press(second, "u")
    votes = read_votes(arena)
    assert sorted((vote.rater, vote.answer) for vote in votes) == sorted(
        [(votes[0].rater, "left")] * 3 + [(votes[1].rater, "right")] * 2
    )


@pytest.mark.parametrize("viewport", [PHONE, DESK], ids=["phone", "desk"])
def test_hostile_texts_are_texts_and_all_fits(
    tmp_path: Path, make: Make, serve: Any, begin: Any, viewport: dict[str, int]
) -> None:
    made = make(len(HOSTILE))
    lines = [line.replace("\n", " ") for line in HOSTILE]
    (tmp_path / "hostile.txt").write_text("\n".join(lines), encoding="utf-8")
    arena = tmp_path / "hostile"
    models = [str(made.parent / f"model-{number}") for number in range(2)]
    build(models, str(tmp_path / "hostile.txt"), arena, asking=ArenaOptions(checks=0.0, alignment=True))
    page = begin(serve(arena).url, viewport)
    seen = set()
    for _ in HOSTILE:
        text = page.locator("#prompt").text_content()
        seen.add(text)
        box = page.evaluate(
            "[document.documentElement.scrollWidth, document.documentElement.scrollHeight,"
            "document.querySelector('.answers').getBoundingClientRect().bottom]"
        )
        assert box[0] <= viewport["width"], "nothing is cut off at the side"
        assert max(box[1:]) <= viewport["height"], "images and answers are seen without scrolling"
        assert page.locator("#question").text_content() == "Which image do you prefer?"
        press(page, "1")
        assert page.locator("#question").text_content() == "Which image follows the text better?"
        assert page.locator("#prompt").text_content() == text
        press(page, "3")
    assert any("<img src=x" in text for text in seen) and any("</script>" in text for text in seen)
    assert not any(re.search("[\u202a-\u202e\x07]", text) for text in seen)
    assert page.locator("body").get_attribute("data-hacked") is None
    assert page.locator("main img").count() == 2 and len(seen) == len(HOSTILE)


def test_larger_images_move_together_and_keys_still_vote(make: Make, serve: Any, begin: Any) -> None:
    arena = make(4, checks=0.0)
    page = begin(serve(arena).url)
    page.locator(".frame").first.click(position={"x": 20, "y": 20})
    places = "[...document.querySelectorAll('.frame')].map((each) => [each.scrollLeft, each.scrollTop])"
    assert page.locator(".pair.zoomed").count() == 1
    for key in ("ArrowRight", "ArrowRight", "ArrowDown"):
        page.keyboard.press(key)
    page.wait_for_timeout(300)
    first, second = page.evaluate(places)
    assert first == second and first[0] > 0 and first[1] > 0 and read_votes(arena) == []
    press(page, "2")
    assert page.locator(".pair.zoomed").count() == 0 and len(read_votes(arena)) == 1
    page.keyboard.press("z")
    page.keyboard.press("Escape")
    press(page, "ArrowLeft")
    assert len(read_votes(arena)) == 2


def test_the_keyboard_alone_and_a_screen_reader_are_enough(make: Make, serve: Any, begin: Any) -> None:
    arena = make(4, checks=0.0)
    page = begin(serve(arena).url)
    names = []
    for _ in range(12):
        page.keyboard.press("Tab")
        names.append(
            page.evaluate(
                "document.activeElement.getAttribute('aria-label') || document.activeElement.innerText"
            )
        )
    answers = ("Image 1 is better", "Image 2 is better", "Both are good", "Neither is good")
    wanted = ["Skip to the content", "Back", "Help", "The text", "Image 1: make", "Image 2: make", *answers]
    place = 0
    for name in names:
        place += place < len(wanted) and wanted[place] in name
    assert place == len(wanted), names
    page.get_by_role("button", name="Neither is good").focus()
    press(page, "Enter")
    assert [vote.answer for vote in read_votes(arena)] == ["neither"]
    assert "Neither" in page.evaluate(FOCUSED), "the focus stays where it was"
    status = page.locator("[aria-live=polite]").text_content()
    assert "Pair 2 of 4" in status and "Which image do you prefer?" in status and "thing" in status
    assert (
        page.get_by_role("img", name="Image 1").count() == 1
        and page.get_by_role("heading", level=1).count() == 1
    )
    assert page.get_by_role("progressbar").get_attribute("value") == "1"


@pytest.mark.parametrize("viewport", [PHONE, DESK], ids=["phone", "desk"])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_axe_finds_nothing_serious_on_any_page(
    make: Make, serve: Any, chromium: Any, shapes: Catalog, viewport: dict[str, int], dark: bool
) -> None:
    url = serve(make(2, checks=0.5, per_rater=2, alignment=True, real_images=shapes.uri)).url
    context = chromium.new_context(viewport=viewport, color_scheme="dark" if dark else "light")
    page = context.new_page()
    page.goto(url)
    audit(page)
    page.get_by_role("button", name="Begin").click()
    page.get_by_role("alert").wait_for()
    audit(page)
    page.get_by_label("I have read this").check()
    page.get_by_role("button", name="Begin").click()
    page.wait_for_selector(SHOWN)
    audit(page)
    page.keyboard.press("?")
    audit(page)
    page.keyboard.press("Escape")
    while shown(page) != "finished":
        press(page, "1")
    page.get_by_text("Pictures by others").click()
    assert "painter" in page.locator("details").inner_text()
    audit(page)
    context.close()
