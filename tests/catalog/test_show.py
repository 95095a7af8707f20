"""`catalog show`: rows as a person looks at them, in the terminal and on a page."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import pytest
from PIL import Image

from commoncanvas.catalog import Catalog, FetchOptions, curate, fetch, show
from commoncanvas.cli import app
from commoncanvas.core.console import print_table
from commoncanvas.core.errors import CatalogError
from commoncanvas.pages.rows_page import write_rows_page
from commoncanvas.table.schema import to_batch


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    """A picture, a smaller copy of it, a file that ends early, one that isn't there, and one that waits."""
    folder = tmp_path_factory.mktemp("show")
    picture = Image.radial_gradient("L").resize((200, 140)).convert("RGB")
    picture.save(folder / "a.png")
    picture.save(folder / "b.png", compress_level=1)
    (folder / "cut.png").write_bytes((folder / "a.png").read_bytes()[:-2000])
    titles = {"a": "Good", "b": "Copy", "cut": "<script>alert(1)</script>", "none": "Gone \x1b[31m\u202egnp"}
    rows = [
        {
            "image_id": f"x:{name}",
            "source": "folder",
            "image_url": str(folder / f"{name}.png"),
            "title": title,
            "creator": "Ada",
            "creator_url": "javascript:alert(1)",
            "license": "CC-BY-4.0" if name == "b" else "CC0-1.0",
            "tags": ["one", "two"],
        }
        for name, title in titles.items()
    ]
    made = Catalog.create(folder / "c.lance")
    made.add([to_batch(rows)])
    fetch(made, FetchOptions(size=64))
    made.add([to_batch([{"image_id": "x:new", "source": "folder", "image_url": "/nowhere"}])])
    curate(made.uri, deduplicate=True, name="c-v1")
    return Catalog.open(made.uri)


def text_of(found: object) -> str:
    file = io.StringIO()
    print_table(found.render(), file)  # type: ignore[attr-defined]
    return file.getvalue()


def test_ids_stay_in_one_line_of_a_narrow_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that they can be copied."""
    monkeypatch.setenv("COLUMNS", "80")
    image_id = "folder:museum/prints/1640-1.jpg"
    row = {"image_id": image_id, "source": "folder", "image_url": "/a.jpg", "license": "CC-BY-4.0"}
    texts = {"title": "The view of a town by a river, with boats", "creator": "An unknown master of Utrecht"}
    catalog = Catalog.create(tmp_path / "c.lance")
    catalog.add([to_batch([row | texts])])
    said = text_of(show(catalog))
    assert image_id in said
    assert max(map(len, said.splitlines())) <= 80


def test_rows_are_shown_with_what_became_of_them(catalog: Catalog) -> None:
    found = show(catalog)
    assert [row["image_id"] for row in found.rows] == ["x:a", "x:b", "x:cut", "x:none", "x:new"]
    assert found.statuses == {"ok": 2, "truncated": 1, "not_found": 1, "pending": 1}
    assert (found.matching, found.left_out) == (5, None)
    assert found.rows[1]["duplicate_of"] == "x:a"
    assert found.kept["x:a"]["title"] == "Good"
    assert "is not a file" in (found.rows[3]["fetch_error"] or "")
    shown = text_of(found)
    assert re.search(r"↳ copy of\s+(x:a\s+)?Good", shown)
    assert not re.search("[\x1b\u202e]", shown)


def test_a_condition_or_a_saved_filter_chooses_and_the_limit_is_said(catalog: Catalog) -> None:
    failed = show(catalog, where="fetch_status != 'ok'", columns=["fetch_status"])
    assert [list(row.values())[:2] for row in failed.rows] == [
        ["x:cut", "truncated"],
        ["x:none", "not_found"],
    ]
    assert [row["image_id"] for row in show(catalog.uri, where="c-v1").rows] == ["x:a"]
    first = show(catalog, limit=2)
    assert (len(first.rows), first.left_out) == (2, "3 more rows; --limit shows more")
    assert "3 more rows" in text_of(first)
    # What a row copies is shown though the condition leaves it out.
    assert show(catalog, where="image_id = 'x:b'").kept.keys() == {"x:a"}
    assert "0 rows" in text_of(show(catalog, where="image_id = 'nobody'"))


def test_values_of_every_kind_are_text(catalog: Catalog) -> None:
    (row,) = show(catalog, columns=catalog.schema.names, limit=1).rows
    assert row["tags"] == "one, two"
    assert re.fullmatch(r"[\d,]+ bytes", row["image"] or "")
    assert row["width"] == "64"
    assert all(value is None or isinstance(value, str) for value in row.values())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"columns": ["titel"]}, "no column titel"),
        ({"where": "nosuch = 1"}, "No field named nosuch"),
        ({"limit": 0}, "limit 0 shows no rows"),
    ],
)
def test_what_means_nothing_is_one_line(catalog: Catalog, arguments: dict[str, object], message: str) -> None:
    with pytest.raises(CatalogError, match=message):
        show(catalog, **arguments)  # type: ignore[arg-type]


def test_the_page_is_one_file_with_thumbnails_and_no_word_of_a_strangers_is_code(
    catalog: Catalog, tmp_path: Path
) -> None:
    write_rows_page(show(catalog), tmp_path / "rows.html")
    page = (tmp_path / "rows.html").read_text(encoding="utf-8")
    assert page.count("data:image/webp;base64,") == 3  # a, b, and what b copies
    assert page.count("Copy of") == 1
    assert page.count("no image") == 3
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "javascript:" not in page
    assert not re.search("[\x1b\u202e]", page)
    assert not re.findall(r"(?:src|href)=[\"'](?!data:|https?://)[^\"']", page)
    assert all(status in page for status in ("truncated", "not_found", "pending"))


def test_the_command_shows_and_writes(
    catalog: Catalog, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "new" / "rows.html"
    words = ["catalog", "show", "--catalog", catalog.uri, "--columns", "title, fetch_status"]
    app([*words, "--where", "image_id = 'x:a'", "--html", str(page), "--json"], result_action="return_value")
    printed = json.loads(capsys.readouterr().out)
    assert printed["columns"] == ["title", "fetch_status"]
    assert printed["rows"] == [
        {"image_id": "x:a", "title": "Good", "fetch_status": "ok", "duplicate_of": None}
    ]
    assert page.exists()
    app(words, result_action="return_value")
    assert "not_found" in capsys.readouterr().out
