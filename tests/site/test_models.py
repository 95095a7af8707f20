"""*Models*: cards, figures and credits of strangers as text, and of a folder only what is meant to be seen."""

from __future__ import annotations

import json
import re
import shutil
import socket
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from commoncanvas.catalog.credits import FIELDS, Credit, write_credits
from commoncanvas.models.pretrained import model_folder
from commoncanvas.site.model_list import models_of
from commoncanvas.site.models import files
from commoncanvas.site.models.credits import PAGE, credits_page
from commoncanvas.site.models.markdown import rendered
from commoncanvas.site.parts import Site
from tests.site.conftest import Open, drawing_of
from tests.web.browser import DESK, HOSTILE, PHONE, audit, picture

XS = Path(model_folder("xs"))
CARD = """---
license: cc0-1.0
---
# <script>document.body.dataset.hacked=1</script>

<img src=x onerror=document.body.dataset.hacked=1> {{ 7 * 7 }} \u202ereversed

[script](javascript:document.body.dataset.hacked=1) [data](data:text/html,x) [web](https://example.org/"onclick=1)
[up](../secret.md) [weights](unet/weights.safetensors) [credits](credits.csv) [rooted](/etc/passwd) [none](//other.org/)
![other host](https://other.org/a.png) ![inside](plots/loss.png) ![outside](../secret.png) ![svg](plots/x.svg)

| a | b |
|---|--:|
| `code` | **2** |

- Mail <me@example.org> and <https://example.org/x>
"""


@pytest.fixture
def xs(tmp_path: Path) -> Path:
    """A copy of the packaged model's papers, without its weights, with the card above."""
    folder = tmp_path / "xs"
    without = shutil.ignore_patterns("*.safetensors", "credits.html", "*.js")
    shutil.copytree(XS, folder, ignore=without)
    (folder / "README.md").write_text(CARD, encoding="utf-8")
    (tmp_path / "secret.md").write_text("secret")
    shutil.copy(folder / "plots/loss.png", tmp_path / "secret.png")
    return folder


def test_the_model_that_draws_and_the_others_have_pages(opened: Open, model: Path, xs: Path) -> None:
    drawing = drawing_of(model)
    url = opened(Site(drawing=drawing, models=(model, xs)))
    found = httpx.get(f"{url}api/models").json()
    assert [(each["name"], each["draws"]) for each in found] == [(drawing.name, True), ("xs-64", False)]
    record = json.loads((XS / "provenance.json").read_text())
    evaluation = json.loads((XS / "evaluation/evaluation.json").read_text())
    one = httpx.get(f"{url}api/models/xs-64").json()
    assert one["images"] == record["rows"]["train"] and one["licenses"] == record["licenses"]
    assert one["creators_of_most"] == [["OpenMoji", record["rows"]["train"]]]
    assert {mark["digest"] for mark in one["fingerprints"]} == {
        mark["digest"] for marks in evaluation["fingerprints"].values() for mark in marks.values()
    }
    retrieval = one["figures"][0]
    assert (retrieval["name"], retrieval["values"][1]) == ("Retrieval", "22.7\u00a0%")
    assert [name for name, *_ in retrieval["baselines"]] == [
        "chance",
        "95\u00a0% interval",
        "autoencoder alone",
    ]
    for path in ("models", "models/xs-64", f"models/{drawing.name}"):
        assert httpx.get(url + path).status_code == 200
    assert httpx.get(f"{url}models/none").status_code == 404
    everything = "".join(httpx.get(url + path).text for path in ("models", "models/xs-64", "api/models"))
    assert str(model.parent) not in everything and str(xs.parent) not in everything


def test_all_that_a_page_links_to_is_there(opened: Open, model: Path) -> None:
    url = opened(Site(models=(model, XS)))
    with httpx.Client(base_url=url, follow_redirects=True) as client:
        for page in ("models", "models/xs-64", "models/xs-64/documents/README.md"):
            for link in set(re.findall(r'(?:href|src)="(/[^"#]+)"', client.get(page).text)):
                assert client.get(link).status_code == 200, link
    record = httpx.get(f"{url}models/xs-64/files/provenance.json")
    assert record.content == (XS / "provenance.json").read_bytes()
    assert record.headers["content-disposition"].startswith("attachment")


def test_a_folder_that_is_no_release_keeps_its_records(opened: Open, model: Path) -> None:
    name = next(iter(models_of(Site(models=(model,)))))
    url = opened(Site(models=(model,)))
    assert httpx.get(f"{url}models/{name}/files/rows.parquet").status_code == 200
    assert httpx.get(f"{url}models/{name}/files/provenance.json").status_code == 404


def test_the_card_of_a_stranger_is_text(opened: Open, xs: Path) -> None:
    url = opened(Site(models=(xs,)))
    card = httpx.get(f"{url}models/xs-64/documents/README.md").text.partition("<article")[2]
    assert re.findall(r'src="([^"]*)"', card) == ["/models/xs-64/pictures/plots/loss.png"]
    assert re.findall(r'href="([^"]*)"', card) == [
        "https://example.org/%22onclick=1",
        "/models/xs-64/files/credits.csv",
        "https://example.org/x",
    ]
    assert (
        "<script" not in card and "<img src=x" not in card and "style=" not in card and "\u202e" not in card
    )
    assert "other host" in card and "{{ 7 * 7 }}" in card and "license: cc0" not in card
    for path in ("plots/loss.png", "evaluation/heldout/000.png"):
        answer = httpx.get(f"{url}models/xs-64/pictures/{path}")
        assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png")


def raw(url: str, path: str) -> int:
    """The status of a request whose path no client has tidied up."""
    host, port = urlsplit(url).hostname, urlsplit(url).port
    with socket.create_connection((host, port), timeout=10) as found:
        found.sendall(
            f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode("latin-1")
        )
        return int(found.makefile("rb").readline().split()[1])


PARTS = st.sampled_from(
    ["..", ".", "", "unet", "evaluation", "heldout", "plots", "secret.md", "secret.png", "xs"]
)
NAMES = st.lists(PARTS | st.text("/.%\\\0abc", max_size=4), max_size=6).map("/".join)


def test_no_path_leads_to_another_file(opened: Open, xs: Path) -> None:
    (xs / "plots/escape.png").symlink_to(xs.parent / "secret.png")
    (xs / "README.md").write_text("![](plots/escape.png) ![](../secret.png) ![](plots/loss.png)")
    (xs / "unet/weights.safetensors").write_bytes(b"weights")
    url = opened(Site(models=(xs,)))
    allowed = {
        "documents": set(files.documents(xs)),
        "files": set(files.downloads(xs)),
        "pictures": set(files.pictures(xs)),
    }
    assert "plots/escape.png" not in allowed["pictures"] and "plots/loss.png" in allowed["pictures"]
    inside = xs.resolve()
    assert all((xs / name).resolve().is_relative_to(inside) for names in allowed.values() for name in names)

    @settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.sampled_from(sorted(allowed)), NAMES, st.booleans())
    @example("files", "../secret.md", False)
    @example("pictures", "/etc/passwd", True)
    @example("files", "unet/weights.safetensors", False)
    def ask(kind: str, name: str, quoted: bool) -> None:
        sent = quote(name, safe="") if quoted else re.sub(r"[\0 \\%]", lambda mark: quote(mark[0]), name)
        status = raw(url, f"/models/xs-64/{kind}/{sent}")
        assert status == (200 if name in allowed[kind] else 404)

    ask()


@given(st.text(alphabet="[]()!<>`*_#|-\n \"'ab:/.&;\\"), st.booleans())
def test_any_markdown_has_no_tag_that_was_not_meant(text: str, also: bool) -> None:
    html = rendered(text, "README.md", lambda name: "/x" if also else None, lambda name: None)
    tags = set(re.findall(r"<\s*/?\s*([a-z0-9]+)", html, re.IGNORECASE))
    fine = "p h2 h3 h4 h5 h6 em strong code pre a ul ol li blockquote hr br table thead tbody tr th td div"
    assert tags <= set(fine.split())
    assert all(re.match("https?://|/x", target) for target in re.findall(r'href="([^"]*)"', html))


def credits_of(count: int) -> list[Credit]:
    empty: dict[str, Any] = dict.fromkeys(FIELDS)
    return [
        Credit(
            **empty | {"image_id": f"s:{number}", "title": f"Work {number}", "creator": f"Ada {number % 7}"}
        )
        for number in range(count)
    ]


def test_credits_are_found_by_words_and_paged_the_same_from_both_files(tmp_path: Path) -> None:
    some = credits_of(2 * PAGE + 30)
    write_credits(some, "csv", tmp_path / "credits.csv")

    def pages(words: list[str]) -> list[str]:
        found, number = [], 1
        while True:
            page = credits_page(tmp_path, words, number)
            found += [one.image_id for one in page.credits]
            if not page.more:
                return found
            assert len(page.credits) == PAGE
            number += 1

    cases = {
        (): [one.image_id for one in some],
        ("ada", "3"): [one.image_id for one in some if "3" in f"{one.title} {one.creator}"],
        ("WORK",): [one.image_id for one in some],
        ("nobody",): [],
    }
    from_csv = {words: pages(list(words)) for words in cases}
    columns = pyarrow.csv.ConvertOptions(
        strings_can_be_null=True, column_types=dict.fromkeys(FIELDS, pyarrow.string())
    )
    table = pyarrow.csv.read_csv(tmp_path / "credits.csv", convert_options=columns)
    pq.write_table(table, tmp_path / "credits.parquet", row_group_size=17)
    assert from_csv == cases
    assert {words: pages(list(words)) for words in cases} == cases
    assert credits_page(tmp_path, [], 9).credits == ()


@pytest.mark.parametrize(
    "record",
    ["{", "[]", '{"name": 1, "task": "diffusion"}', "wrong types"],
    ids=["cut", "list", "lacks", "types"],
)
def test_a_folder_with_a_broken_record_has_a_page_that_says_so(
    opened: Open, tmp_path: Path, record: str
) -> None:
    folder = tmp_path / "ours"
    folder.mkdir()
    keys = ("name", "task", "catalogs", "rows", "licenses", "creators", "result_license", "built_on")
    (folder / "provenance.json").write_text(
        json.dumps(dict.fromkeys(keys, "x")) if record == "wrong types" else record
    )
    (folder / "evaluation").mkdir()
    (folder / "evaluation/evaluation.json").write_text("[1]")
    url = opened(Site(models=(folder, tmp_path / "gone")))
    one, gone = httpx.get(f"{url}api/models").json()
    assert "provenance.json" in one["problem"] and str(tmp_path) not in one["problem"]
    assert "not on this machine" in gone["problem"]
    for each in (one, gone):
        assert httpx.get(url[:-1] + each["page"]).status_code == 200


@pytest.mark.slow
@pytest.mark.parametrize("dark", [False, True])
def test_models_in_a_browser(opened: Open, visit: Any, xs: Path, tmp_path: Path, dark: bool) -> None:
    hostile = [
        Credit(**dict.fromkeys(FIELDS) | {"image_id": f"h:{number}", "title": text, "creator": text})
        for number, text in enumerate(HOSTILE)
    ]
    (xs / "credits.parquet").unlink()
    write_credits(hostile, "csv", xs / "credits.csv")
    evaluation = json.loads((xs / "evaluation/evaluation.json").read_text())
    for sample, text in zip(evaluation["heldout_samples"], HOSTILE, strict=False):
        sample["prompt"] = text
    (xs / "evaluation/evaluation.json").write_text(json.dumps(evaluation))
    url = opened(Site(models=(xs,)))
    page = visit(f"{url}models", PHONE if dark else DESK, dark)
    audit(page)
    page.get_by_role("link", name="xs-64").press("Enter")
    page.get_by_role("heading", name="What it learned from").wait_for()
    assert "onerror" in page.locator(".samples").last.inner_text()
    page.locator("summary").first.press("Enter")
    assert page.get_by_text("Figures with other fingerprints").first.is_visible()
    audit(page)
    picture(page, tmp_path / f"model-{dark}.png")
    page.get_by_role("link", name="Model card").press("Enter")
    page.locator(".document").wait_for()
    assert (
        page.locator(".document img").evaluate("image => image.decode().then(() => image.naturalWidth)") > 0
    )
    audit(page)
    page.goto(f"{url}models/xs-64/credits")
    assert page.locator(".credits li").count() == len(HOSTILE)
    audit(page)
    page.get_by_label("Words of a title").fill("onerror")
    page.keyboard.press("Enter")
    page.wait_for_url("**q=onerror")
    assert page.locator(".credits li").count() == 1
    audit(page)
