"""What a call returns is printed, and shown at Python's prompt, as the table that the command prints."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from commoncanvas.catalog import Catalog, curate, export, fetch, import_, lookup, stats, takedown
from tests.catalog.test_fetch import jpeg


def test_import_takes_the_place_of_what_it_imports_by_position(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(jpeg())
    report = import_("folder", tmp_path / "c.lance", tmp_path / "photos", license="CC0-1.0", creator="Ada")
    assert report.new == 1 and repr(report) == str(report)


def test_local_files_have_no_rate_of_bytes(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(jpeg())
    import_("folder", tmp_path / "c.lance", tmp_path / "photos", license="CC0-1.0", creator="Ada")
    shown = str(fetch(tmp_path / "c.lance"))
    assert shown.startswith("1 image in ") and "MB/s" not in shown and "bytes" not in shown
    assert shown.splitlines()[-1].split() == ["ok", "1", "100.0"]


def test_reports_are_tables_without_8_kb_of_licences(shapes: Catalog, tmp_path: Path) -> None:
    found = {
        "curate": curate(shapes, name="v1"),
        "stats": stats(shapes),
        "filtered stats": stats(shapes, where="v1"),
        "lookup": lookup(shapes, "shapes:01"),
        "export": export("parquet", shapes, tmp_path / "out", where="v1"),
        "takedown": takedown(shapes, id=["shapes:02"], reason="asked", dry_run=True),
    }
    for name, report in found.items():
        assert len(repr(report)) < 4000, name
        assert "(" + type(report).__name__ not in repr(report) and "CC-BY-1.0-FI" not in repr(report)
        assert repr(report) == str(report)
    assert "license IN (noncommercial licences)" in repr(found["curate"])
    assert "rows" in repr(found["curate"]) and "left" in repr(found["curate"])
    assert " ".join(repr(found["export"]).split()).startswith(f"24 images in 1 shard in {tmp_path / 'out'}, ")


def test_a_page_of_figures_shows_no_list_of_licences(shapes: Catalog, tmp_path: Path) -> None:
    from commoncanvas.pages.stats_page import write_stats_page

    curate(shapes, name="v1")
    write_stats_page(shapes, tmp_path / "stats.html", where="v1")
    text = (tmp_path / "stats.html").read_text(encoding="utf-8")
    assert "license IN (noncommercial licences)" in text and "CC-BY-1.0-FI" not in text


@pytest.mark.parametrize("name", ["CurateReport", "CatalogStats", "FetchReport", "ImportReport"])
def test_a_report_names_its_table_in_one_place(name: str) -> None:
    import commoncanvas.catalog
    from commoncanvas.core.console import Printed

    assert getattr(commoncanvas.catalog, name).__repr__ is Printed.__repr__


def test_captions_are_a_table_with_the_names_that_json_has() -> None:
    from commoncanvas.captioning import CaptionResult

    alone = CaptionResult(2, "xs", "caption", {"ok": 2, "empty": 1})
    assert [line.split() for line in str(alone).splitlines()[-2:]] == [
        ["ok", "2", "66.7"],
        ["empty", "1", "33.3"],
    ]
    assert str(alone).startswith("2 captions by xs in column caption") and "cosine" not in str(alone)
    compared = replace(
        alone, compared=2, caption_cosine=0.5, caption_cosine_shuffled=0.25, distinct_captions=1
    )
    assert "cosine with titles: 0.500, shuffled 0.250; 1 of 2 captions differ" in str(compared)
    assert list(compared.to_dict()) == [
        "captions",
        "captioner",
        "column",
        "statuses",
        "compared",
        "caption_cosine",
        "caption_cosine_shuffled",
        "distinct_captions",
    ]
