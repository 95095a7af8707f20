"""Credits: complete, safe to open, and decent where something isn't known."""

from __future__ import annotations

import csv
import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commoncanvas.catalog import Catalog, credits
from commoncanvas.catalog.credits import COLUMNS, WRITERS, credit
from commoncanvas.core.errors import CatalogError
from commoncanvas.table.schema import to_batch

FULL = {
    "image_id": "yfcc:1",
    "source": "yfcc",
    "title": "A day at sea",
    "creator": "Ada",
    "creator_url": "https://flickr.example/ada",
    "page_url": "https://flickr.example/ada/1",
    "image_url": "https://live.example/1.jpg",
    "license": "CC-BY-NC-2.0",
    "license_url": "https://creativecommons.org/licenses/by-nc/2.0/",
    "width": 512,
    "height": 384,
    "original_width": 4000,
    "original_height": 3000,
}
BARE = {"image_id": "x:2", "source": "x"}
HOSTILE = {
    "image_id": "x:3",
    "source": "x",
    "title": '=HYPERLINK("http://evil.example")',
    "creator": "<script>alert(1)</script>\x1b[31m\u202egnp",
    "creator_url": "javascript:alert(1)",
    "page_url": 'https://x.example/"onmouseover="alert(1)',
    "license": "CC0-1.0",
}


def row(fields: dict[str, Any]) -> dict[str, Any]:
    return {**dict.fromkeys(COLUMNS), **fields}


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    catalog = Catalog.create(tmp_path / "catalog.lance")
    catalog.add([to_batch([FULL, BARE, HOSTILE])])
    return catalog


def test_a_credit_has_title_author_source_licence_and_change_each_with_its_link() -> None:
    made = credit(row(FULL))
    assert made.text() == (
        "“A day at sea” by Ada (https://flickr.example/ada) is licensed under CC BY-NC 2.0 "
        "(https://creativecommons.org/licenses/by-nc/2.0/). Source: https://flickr.example/ada/1. "
        "Changes: resized from 4000 × 3000 to 512 × 384 pixels."
    )
    for link in ("https://flickr.example/ada", "https://flickr.example/ada/1", made.license_url):
        assert f'href="{link}"' in made.html()


def test_markdown_has_the_same_links() -> None:
    assert credit(row(FULL)).markdown() == (
        "[A day at sea](<https://flickr.example/ada/1>) by [Ada](<https://flickr.example/ada>) is licensed under "
        "[CC BY-NC 2.0](<https://creativecommons.org/licenses/by-nc/2.0/>); "
        "resized from 4000 × 3000 to 512 × 384 pixels"
    )
    assert credit(row(BARE)).markdown() == "Untitled by creator not stated, licence not stated"
    assert credit(row({**BARE, "title": "1. x"})).markdown().startswith("“1. x” by ")


@given(
    st.text(max_size=30),
    st.text(max_size=30),
    st.sampled_from(["", "a(b)>c", "<", "\\", "&copy;", " x", "]("]),
)
def test_no_text_of_a_row_is_markup_in_markdown(title: str, creator: str, end: str) -> None:
    from markdown_it import MarkdownIt

    url = f"https://x.example/{end}" if end.strip() == end else None
    made = credit(row({**BARE, "title": title, "creator": creator, "creator_url": url, "page_url": url}))
    page = MarkdownIt("commonmark").enable("table").render(made.markdown())
    tags: list[str] = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            tags.append(tag)
            assert tag in ("p", "a", "code")
            if tag == "a":
                assert url is not None and [name for name, _ in attrs] == ["href"]

    Reader().feed(page)
    assert tags.count("p") == 1 and tags.count("a") == (2 if made.source_url else 0)


def test_what_is_not_known_is_said_so() -> None:
    assert credit(row(BARE)).text() == "Untitled by creator not stated. Licence not stated."
    assert credit(row(BARE)).html() == "<cite>Untitled</cite> by creator not stated, licence not stated"


def test_public_domain_works_are_not_called_licensed() -> None:
    assert (
        "is marked with CC0 1.0 (https://creativecommons.org/publicdomain/zero/1.0/)"
        in credit(row({**FULL, "license": "CC0-1.0", "license_url": None})).text()
    )


def test_the_source_is_the_page_or_else_the_image_but_never_a_path_of_the_importer() -> None:
    assert credit(row({**FULL, "page_url": None})).source_url == "https://live.example/1.jpg"
    assert credit(row({**FULL, "page_url": None, "image_url": "file:///home/ada/1.jpg"})).source_url is None


def test_an_image_kept_at_its_size_is_not_called_resized() -> None:
    assert credit(row({**FULL, "width": 4000, "height": 3000})).changes == "converted to another file format"


@pytest.mark.parametrize("format", list(WRITERS))
def test_every_format_has_every_row_and_the_filter_chooses(
    catalog: Catalog, tmp_path: Path, format: str
) -> None:
    out = tmp_path / "credits"
    assert credits(catalog, format=format, out=out) == 3
    assert credits(catalog.uri, format=format, out=out, where="creator = 'Ada'") == 1
    text = out.read_text(encoding="utf-8")
    assert "A day at sea" in text
    assert "Untitled" not in text
    assert credits(catalog, format=format, out=out, where="false") == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["catalog.lance", "credits"]


def test_text_goes_to_stdout_a_line_an_image(catalog: Catalog, capsys: pytest.CaptureFixture[str]) -> None:
    credits(catalog)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert "\x1b" not in lines[2]
    assert "\u202e" not in lines[2]


def test_json_is_an_array_with_every_value_as_it_is(catalog: Catalog, tmp_path: Path) -> None:
    credits(catalog, format="json", out=tmp_path / "c.json")
    found = json.loads((tmp_path / "c.json").read_text(encoding="utf-8"))
    assert [entry["image_id"] for entry in found] == ["yfcc:1", "x:2", "x:3"]
    assert found[2]["title"] == HOSTILE["title"]
    assert found[0]["credit"] == credit(row(FULL)).text()
    credits(catalog, format="json", out=tmp_path / "c.json", where="false")
    assert json.loads((tmp_path / "c.json").read_text()) == []


def test_no_cell_of_the_csv_is_a_formula(catalog: Catalog, tmp_path: Path) -> None:
    credits(catalog, format="csv", out=tmp_path / "c.csv")
    with (tmp_path / "c.csv").open(encoding="utf-8", newline="") as file:
        found = list(csv.DictReader(file))
    assert len(found) == 3
    assert found[0]["creator"] == "Ada"
    assert found[2]["title"] == f"'{HOSTILE['title']}"
    assert not any(cell.startswith(("=", "+", "-", "@")) for entry in found for cell in entry.values())


class Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def test_nothing_in_a_row_becomes_markup_or_a_script(catalog: Catalog, tmp_path: Path) -> None:
    credits(catalog, format="html", out=tmp_path / "c.html")
    page = Page()
    page.feed((tmp_path / "c.html").read_text(encoding="utf-8"))
    assert "script" not in {tag for tag, _ in page.tags}
    links = [attributes["href"] for tag, attributes in page.tags if tag == "a"]
    assert links
    assert all(link and link.startswith("https://") for link in links)
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)


@given(st.fixed_dictionaries({name: st.none() | st.text(max_size=30) for name in COLUMNS[1:8]}))
def test_any_row_has_a_credit_in_every_form(fields: dict[str, Any]) -> None:
    made = credit(row({"image_id": "a:1", **fields}))
    assert made.text().endswith(".")
    page = Page()
    page.feed(made.html())
    assert {tag for tag, _ in page.tags} <= {"cite", "a"}


def test_mistakes_are_one_line_and_leave_no_half_file(catalog: Catalog, tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match="no credits format pdf; there are: text, csv, html, json"):
        credits(catalog, format="pdf")
    with pytest.raises(CatalogError, match="filter 'nosuch = 1' is not valid"):
        credits(catalog, where="nosuch = 1", out=tmp_path / "c.txt")
    with pytest.raises(CatalogError, match=r"can't be written to .*nowhere"):
        credits(catalog, out=tmp_path / "nowhere" / "c.txt")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["catalog.lance"]
