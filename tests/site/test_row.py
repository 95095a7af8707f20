"""The page about one image shows all that is known; its form keeps what people ask, and nobody else can read it."""

from __future__ import annotations

import html
import re
import stat
import threading
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from commoncanvas.catalog import Catalog, takedown
from commoncanvas.catalog.takedown import requests as store
from commoncanvas.catalog.takedown.requests import FILE, Requests, requests_folder
from commoncanvas.core.errors import CatalogError
from commoncanvas.images.image import encode_image
from commoncanvas.site.app import site_app
from commoncanvas.site.parts import Site
from commoncanvas.site.row.facts import others
from commoncanvas.site.row.form import filled
from commoncanvas.site.shown import row_path
from commoncanvas.table.schema import to_batch
from commoncanvas.web.tokens import Tokens
from tests.conftest import drawing
from tests.site.test_which_models import release_of, write_rows
from tests.web.browser import HOSTILE

HERE = "http://localhost"
SENT = {"scope": "image", "reason": "I drew it", "contact": "ada@example.org", "good_faith": "yes"}
ODD_ID = "scans:a b/c?d#50 %'é"


def row(image_id: str, **more: Any) -> dict[str, Any]:
    return {
        "image_id": image_id,
        "source": "scans",
        "title": "A boat",
        "creator": "Ada",
        "creator_url": "https://people.example/ada",
        "page_url": f"https://scans.example/{abs(hash(image_id))}",
        "license": "CC-BY-NC-4.0",
        "fetch_status": "ok",
        "image": encode_image(drawing("red", "circle"), "png"),
        "width": 32,
        "height": 32,
        **more,
    }


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    made = Catalog.create(tmp_path / "cc.lance")
    full = {
        "description": "Two people in a boat",
        "tags": ["sea", "boat"],
        "taken_at": datetime(1931, 7, 4, tzinfo=UTC),
        "camera": "Leica I",
        "original_width": 4000,
        "original_height": 4000,
    }
    made.add([to_batch([row("scans:1", **full), row("scans:2"), row(ODD_ID)])])
    return made


@pytest.fixture
def client(catalog: Catalog) -> TestClient:
    site = Site(catalogs={"cc": catalog})
    return TestClient(site_app(site, Tokens()), base_url=HERE, follow_redirects=False)


def text_of(client: TestClient, path: str, status: int = 200) -> str:
    answer = client.get(path, headers={"accept": "text/html"})
    assert answer.status_code == status
    return html.unescape(answer.text)


def kept(catalog: Catalog) -> Requests:
    return Requests.make(requests_folder(catalog.uri))


def ask(client: TestClient, image_id: str = "scans:1", **more: str) -> Any:
    return client.post(row_path("cc", image_id), data={**SENT, **more}, headers={"accept": "text/html"})


def test_the_page_shows_what_is_known_and_the_credit_in_three_forms(client: TestClient) -> None:
    page = text_of(client, row_path("cc", "scans:1"))
    for text in (
        "Two people in a boat",
        "sea, boat",
        "1931-07-04",
        "Leica I",
        "32 × 32 pixels",
        "the original has 4,000 × 4,000 pixels",
        "Everybody may use, share and change this, but not commercially, if they name the creator.",
        "“A boat” by Ada (https://people.example/ada) is licensed under CC BY-NC 4.0",
        '<cite><a href="https://scans.example/',
        "[A boat](<https://scans.example/",
        "/images/cc/scans%3A1?px=1024",
    ):
        assert text in page, text


def test_captions_name_the_model_that_wrote_them_and_other_columns_are_not_lost() -> None:
    from commoncanvas.site.row.facts import facts

    given = dict.fromkeys(pa_names()) | row(
        "a:1", tall="x", tall_model="m-1", tall_status="ok", sharpness=12.5
    )
    shown = {fact.name: fact for fact in facts(given)}
    assert shown["Caption by a model"].text == "x"
    assert shown["Caption by a model"].note == "written by m-1, column tall"
    assert {fact.name: fact.text for fact in others(given) if fact.name != "image"} == {
        "tall_status": "ok",
        "sharpness": "12.5",
    }


def test_the_models_of_the_server_say_whether_they_learned_from_it(catalog: Catalog, tmp_path: Path) -> None:
    ours = release_of(tmp_path / "ours", "ours")
    write_rows(ours, [("scans:1", "main", "train"), ("scans:2", "main", "heldout")])
    site = Site(catalogs={"cc": catalog}, models=(ours,))
    client = TestClient(site_app(site, Tokens()), base_url=HERE)
    learned, held = (text_of(client, row_path("cc", f"scans:{number}")) for number in (1, 2))
    assert '<a href="/models/ours"><bdi>ours</bdi></a></dt><dd>learned from it' in learned
    assert "<dd>held it out" in held


def pa_names() -> list[str]:
    from commoncanvas.table.schema import SCHEMA

    return list(SCHEMA.names)


def test_an_id_with_any_characters_has_its_page_and_its_requests(
    client: TestClient, catalog: Catalog
) -> None:
    assert ODD_ID in text_of(client, row_path("cc", ODD_ID))
    assert ask(client, ODD_ID).status_code == 303
    assert [each.image_id for each in kept(catalog).with_states("open")] == [ODD_ID]


def test_what_is_not_there_is_404_and_what_was_taken_down_is_410_without_a_restart(
    client: TestClient, catalog: Catalog
) -> None:
    assert "no such picture" in text_of(client, row_path("cc", "scans:9"), 404)
    assert "no such picture" in text_of(client, row_path("cc", "scans:1' OR '1'='1"), 404)
    assert "no such catalog" in text_of(client, row_path("dd", "scans:1"), 404)
    text_of(client, row_path("cc", "scans:2"))
    takedown(catalog.uri, id=["scans:2"], reason="asked")  # by another object, as by another process
    assert "was taken down" in text_of(client, row_path("cc", "scans:2"), 410)
    assert ask(client, "scans:2").status_code == 410


def test_a_request_is_kept_with_what_the_row_said_and_only_its_owner_can_read_the_file(
    client: TestClient, catalog: Catalog
) -> None:
    answer = ask(client, scope="creator", reason="one\r\ntwo")
    assert answer.status_code == 303
    (request,) = kept(catalog).with_states("open")
    assert (request.number, request.scope, request.reason) == (1, "creator", "one\ntwo")
    assert (request.creator_url, request.license) == ("https://people.example/ada", "CC-BY-NC-4.0")
    folder = Path(f"{catalog.uri}-requests")
    assert stat.S_IMODE((folder / FILE).stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_person_reads_the_state_under_the_private_address_and_nobody_else_does(
    client: TestClient, catalog: Catalog
) -> None:
    path = ask(client).headers["location"]
    page = text_of(client, path)
    assert "Nobody has decided" in page and f"{HERE}{path}" in page and "ada@example.org" not in page
    number = path.partition("?")[0]
    for wrong in (number, f"{number}?code=", f"{number}?code=x", path.replace("/1?", "/2?")):
        assert "no request with this number" in text_of(client, wrong, 404)
    assert client.get(f"/requests/cc/{10**30}?code=x").status_code == 404
    kept(catalog).refuse(1, "the <b>museum</b> holds the rights")
    assert "Refused" in text_of(client, path) and "&lt;b&gt;museum" in client.get(path).text
    with_code = ask(client, "scans:2").headers["location"]
    kept(catalog).accept(2)
    kept(catalog).done(2, 12)
    assert "12 pictures taken down" in text_of(client, with_code)


def test_a_form_that_is_sent_twice_is_one_request(client: TestClient, catalog: Catalog) -> None:
    page = text_of(client, row_path("cc", "scans:1"))
    code = re.search('name="code" value="([^"]+)"', page)[1]  # type: ignore[index]
    first, second = (ask(client, code=code).headers["location"] for _ in range(2))
    assert first == second and len(kept(catalog).with_states("open")) == 1
    assert ask(client, code="short").headers["location"] != first


def test_the_start_and_the_log_say_that_requests_wait_and_nothing_of_the_people(
    client: TestClient, catalog: Catalog, capsys: pytest.CaptureFixture[str]
) -> None:
    code = ask(client).headers["location"].partition("code=")[2]
    said = capsys.readouterr().err
    assert '"request to take out", "catalog": "cc", "number": 1' in said
    assert not [text for text in (code, "ada@example.org", "I drew it") if text in said]
    site_app(Site(catalogs={"cc": catalog}), Tokens())
    command = f"commoncanvas catalog takedown --from-requests --catalog {catalog.uri}"
    assert f"cc: 1 request to take pictures out; to decide: {command}" in capsys.readouterr().err


FIELDS = ["scope", "reason", "contact", "good_faith", "code"]


@given(
    st.dictionaries(
        st.sampled_from(FIELDS), st.one_of(st.text(max_size=400), st.sampled_from(["image", "yes"]))
    )
)
def test_a_form_of_any_texts_has_a_code_and_says_what_is_wrong(fields: dict[str, str]) -> None:
    form = filled(fields, has_creator=False)
    assert re.fullmatch(r"[A-Za-z0-9_-]{22,64}", form.code)
    assert bool(form.problems) != (form.scope == "image" and form.good_faith and len(form.contact) <= 300)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"good_faith": ""}, "confirm this sentence"),
        ({"scope": "everything"}, "choose what to take out"),
        ({"reason": "x" * 2001}, "at most 2,000 characters"),
        ({"contact": "x" * 301}, "at most 300 characters"),
    ],
)
def test_what_is_wrong_with_a_form_is_said_and_nothing_written_is_lost(
    client: TestClient, catalog: Catalog, fields: dict[str, str], sentence: str
) -> None:
    answer = ask(client, **fields)
    assert answer.status_code == 422 and sentence in answer.text
    assert fields.get("contact", SENT["contact"]) in answer.text
    assert fields.get("reason", SENT["reason"]) in answer.text
    assert kept(catalog).with_states("open") == []


def test_all_pictures_of_nobody_can_not_be_asked_for(catalog: Catalog, client: TestClient) -> None:
    catalog.add([to_batch([row("scans:3", creator=None, creator_url=None)])])
    assert "All pictures by" not in text_of(client, row_path("cc", "scans:3"))
    assert ask(client, "scans:3", scope="creator").status_code == 422


def test_another_site_can_not_send_a_request(client: TestClient, catalog: Catalog) -> None:
    for headers in ({"origin": "http://evil.example"}, {"sec-fetch-site": "cross-site"}):
        assert client.post(row_path("cc", "scans:1"), data=SENT, headers=headers).status_code == 403
    assert kept(catalog).with_states("open") == []


def test_a_flood_is_refused_and_what_people_wrote_stays_on_the_page(
    client: TestClient, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    codes = [ask(client).status_code for _ in range(6)]
    assert codes == [303] * 5 + [429]
    answer = ask(client)
    assert "5 requests about this picture wait already" in answer.text and "I drew it" in answer.text
    monkeypatch.setattr(store, "MOST_OPEN", 6)
    assert [ask(client, "scans:2").status_code for _ in range(2)] == [303, 429]
    kept(catalog).refuse(1, "no")
    assert ask(client, "scans:2").status_code == 303


def test_a_request_that_can_not_be_stored_is_not_acknowledged(client: TestClient, catalog: Catalog) -> None:
    path = kept(catalog).path
    path.rename(path.with_name("away"))
    answer = ask(client)
    assert answer.status_code == 503 and "send it again later" in answer.text and "I drew it" in answer.text
    assert not path.exists(), "a file that is made by itself has the wrong mode"


def test_a_catalog_that_can_not_be_read_is_said_so(client: TestClient, catalog: Catalog) -> None:
    Path(catalog.uri).rename(f"{catalog.uri}-away")
    assert "can't be read now" in text_of(client, row_path("cc", "scans:1"), 503)


def test_requests_that_come_at_once_have_numbers_of_their_own(catalog: Catalog) -> None:
    requests, numbers = kept(catalog), list[int]()
    asked = [request_of(f"scans:{each}") for each in range(20)]

    def add(number: int) -> None:
        numbers.append(Requests(requests.path).add(asked[number], f"code {number}"))

    threads = [threading.Thread(target=add, args=(each,)) for each in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(numbers) == list(range(1, 21))


def request_of(image_id: str) -> store.Asked:
    return store.Asked(image_id, "image", None, None, None, None, None, "", "")


def attributes(page: str) -> set[str]:
    found: set[str] = set()

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            found.update(name for name, _ in attrs)

    Reader().feed(page)
    return found


@pytest.mark.parametrize("text", HOSTILE)
def test_texts_of_strangers_are_text(tmp_path: Path, text: str) -> None:
    catalog = Catalog.create(tmp_path / "cc.lance")
    catalog.add(
        [to_batch([row("scans:1", title=text, creator=text, description=text, tags=[text], license=text)])]
    )
    client = TestClient(site_app(Site(catalogs={"cc": catalog}), Tokens()), base_url=HERE)
    sent = {**SENT, "scope": "creator", "reason": text[:2000], "contact": text[:300]}
    for page in (
        client.get(row_path("cc", "scans:1")).text,
        client.post(row_path("cc", "scans:1"), data=sent, headers={"accept": "text/html"}).text,
    ):
        assert (
            "<img src=x" not in page
            and "<script>" not in page
            and "\u202e" not in page
            and "\x07" not in page
        )
        assert not [name for name in attributes(page) if name.startswith("on")]


def test_a_place_where_no_request_can_be_kept_is_an_error_before_anybody_asks(
    catalog: Catalog, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(CatalogError, match="--requests FOLDER"):
        site_app(Site(catalogs={"cc": catalog}, requests=tmp_path / "file"), Tokens())
    with pytest.raises(CatalogError, match="object store"):
        requests_folder("s3://bucket/cc.lance")
    assert requests_folder("s3://bucket/cc.lance/", tmp_path) == tmp_path / "cc.lance-requests"
