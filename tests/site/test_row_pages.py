"""The page about one image in real Chromium: copy, ask, a phone's width, light and dark, texts of strangers."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from commoncanvas.catalog import Catalog, takedown_from_requests
from commoncanvas.catalog.takedown.requests import Requests, requests_folder
from commoncanvas.images.image import encode_image
from commoncanvas.site.app import site_app
from commoncanvas.site.parts import Site
from commoncanvas.site.shown import row_path
from commoncanvas.table.schema import to_batch
from commoncanvas.web.tokens import Tokens
from tests.conftest import drawing
from tests.site.test_row import ODD_ID, row
from tests.web.browser import HOSTILE, PHONE, audit, listening, picture

pytestmark = pytest.mark.slow
Visit = Callable[..., Any]
FULL = {
    "description": "Two people in a boat, seen from the shore in the evening.",
    "tags": ["sea", "boat", "evening"],
    "camera": "Leica I",
    "original_width": 4000,
    "original_height": 3000,
    "width": 640,
    "height": 480,
    "image": encode_image(drawing("orange", "square", 640)[:480], "jpeg"),
}


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    """A server whose catalog has an ordinary row, an odd id, no picture, and texts of strangers."""
    catalog = Catalog.create(tmp_path / "cc.lance")
    rows = [
        row("scans:1", **FULL),
        row(ODD_ID),
        row("scans:none", fetch_status="http_404", image=None, width=None),
    ]
    rows += [
        row(f"scans:h{number}", title=text, creator=text, description=text, tags=[text, text], label=text)
        for number, text in enumerate(HOSTILE)
    ]
    catalog.add([to_batch(rows)])
    app = site_app(Site(catalogs={"cc": catalog}), Tokens())
    with ExitStack() as stack:
        yield stack.enter_context(listening(app)).rstrip("/")


def kept(tmp_path: Path) -> Requests:
    return Requests.make(requests_folder(str(tmp_path / "cc.lance")))


def test_a_button_copies_the_credit_and_the_keyboard_reaches_all(
    url: str, visit: Visit, tmp_path: Path
) -> None:
    page = visit(f"{url}{row_path('cc', 'scans:1')}", permissions=["clipboard-read", "clipboard-write"])
    audit(page)
    picture(page, tmp_path / "look" / "row.png")
    page.get_by_role("button", name="Copy the credit as Markdown").focus()
    page.keyboard.press("Enter")
    page.get_by_text("Copied.").wait_for()
    assert page.evaluate("navigator.clipboard.readText()").startswith("[A boat](<https://scans.example/")
    assert page.evaluate("document.activeElement.innerText").startswith("Copy")
    page.get_by_text("This is mine, take it out").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.name") == "scope"
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Tab")
    page.keyboard.type("I took it in 1931")
    page.keyboard.press("Tab")
    page.keyboard.type("ada@example.org")
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    audit(page)
    picture(page, tmp_path / "look" / "form.png")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Request 1").wait_for()
    (request,) = kept(tmp_path).with_states("open")
    assert (request.scope, request.reason, request.contact) == (
        "creator",
        "I took it in 1931",
        "ada@example.org",
    )


def test_without_the_right_to_copy_the_text_is_selected(url: str, visit: Visit) -> None:
    page = visit(f"{url}{row_path('cc', 'scans:1')}")
    page.evaluate("void (navigator.clipboard.writeText = () => Promise.reject(new Error('no')))")
    page.get_by_role("button", name="Copy the credit as Text").click()
    page.get_by_text("The text is selected").wait_for()
    assert page.evaluate("getSelection().toString()").startswith("“A boat” by Ada")


@pytest.mark.parametrize("scripts", [False, True])
def test_a_person_asks_and_reads_the_decision_on_a_phone(
    url: str, chromium: Any, tmp_path: Path, scripts: bool
) -> None:
    scheme = "dark" if scripts else "light"
    context = chromium.new_context(viewport=PHONE, color_scheme=scheme, java_script_enabled=scripts)
    page = context.new_page()
    page.goto(f"{url}{row_path('cc', ODD_ID)}")
    page.get_by_text("This is mine, take it out").click()
    page.get_by_label("How can we reach you?").fill("ada@example.org")
    page.get_by_label("I made this picture").check()
    if scripts:
        page.locator("[name=good_faith]").evaluate("box => { box.value = 'no' }")
        page.get_by_role("button", name="Send the request").click()
        page.get_by_text("Please confirm this sentence").wait_for()
        assert page.get_by_label("How can we reach you?").input_value() == "ada@example.org"
        assert page.evaluate("document.activeElement.name") == "good_faith"
        audit(page)
        picture(page, tmp_path / "look" / "problem-dark.png")
        page.get_by_label("I made this picture").check()
    page.get_by_role("button", name="Send the request").click()
    page.get_by_text("Nobody has decided about it yet").wait_for()
    address = page.get_by_role("textbox").input_value()
    assert address == page.url and re.search(r"/requests/cc/1\?code=[\w-]{22}$", address)
    if scripts:
        audit(page)
    picture(page, tmp_path / "look" / f"request-{scheme}.png")
    takedown_from_requests(tmp_path / "cc.lance", accept=[1])
    page.reload()
    page.get_by_text("1 picture taken down").wait_for()
    answer = page.goto(f"{url}{row_path('cc', ODD_ID)}")
    assert answer.status == 410 and page.get_by_text("This picture was taken down").is_visible()
    picture(page, tmp_path / "look" / f"gone-{scheme}.png")
    context.close()


@pytest.mark.parametrize("viewport", [PHONE, {"width": 1280, "height": 800}], ids=["phone", "desk"])
def test_texts_of_strangers_are_shown_as_text(
    url: str, visit: Visit, tmp_path: Path, viewport: dict[str, int]
) -> None:
    for number, text in enumerate(HOSTILE):
        page = visit(f"{url}{row_path('cc', f'scans:h{number}')}", viewport)
        page.get_by_text("This is mine, take it out").click()
        page.get_by_text("All pictures by").check()
        page.get_by_label("Why?").fill(text[:2000])
        page.get_by_label("I made this picture").check()
        audit(page)
        picture(page, tmp_path / "look" / f"hostile-{number}-{viewport['width']}.png")
        page.get_by_role("button", name="Send the request").click()
        page.get_by_role("heading", name="Request").wait_for()
        audit(page)
        picture(page, tmp_path / "look" / f"hostile-request-{number}-{viewport['width']}.png")
        page.context.close()


def test_a_row_without_a_picture_says_so(url: str, visit: Visit, tmp_path: Path) -> None:
    page = visit(f"{url}{row_path('cc', 'scans:none')}", dark=True)
    assert page.get_by_text("The picture itself is not stored here").is_visible()
    assert page.get_by_text("http_404").is_visible()
    audit(page)
    picture(page, tmp_path / "look" / "none-dark.png")
