"""The folder source: every kind of metadata, every kind of mistake in it, nothing lost silently."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from commoncanvas.catalog import Catalog, FetchOptions, fetch, import_
from commoncanvas.catalog.importing.sources import fields
from commoncanvas.core.errors import LicenseError, NothingImportedError, SourceError
from commoncanvas.table.report import Report

ROW = {"file": "a.jpg", "license": "CC BY 4.0", "creator": "Ada"}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    for name in ("a.jpg", "b.png", "sub/c.jpg", "sub/dé.jpg"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), "blue").save(folder / name)
    (folder / "notes.txt").write_text("no image")
    (folder / ".hidden.jpg").write_bytes(b"")
    return folder


def rows(uri: Path) -> dict[str, dict[str, Any]]:
    catalog = Catalog.open(uri)
    return {row["source_id"].split("/", 1)[1]: row for row in catalog.table(catalog.schema.names).to_pylist()}


def csv(folder: Path, *lines: str) -> None:
    (folder / "metadata.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def test_csv_with_people_s_own_column_names_becomes_provenance(photos: Path, tmp_path: Path) -> None:
    csv(
        photos,
        "File Name,Licence,Photographer,photographerUrl,Title,Source URL,Keywords,Date-Taken,Caption,Camera",
        'a.jpg,Attribution-ShareAlike 2.0 Generic (CC BY-SA 2.0),Ada,https://ada.example,"A ""big"" day, again",'
        "https://x.example/1,sea; sun;sea,2019-05-01T12:30:00+02:00,a day at sea,Nikon",
        "b.png,https://creativecommons.org/publicdomain/zero/1.0/,,,,,,2019:05:01 10:00:00,,",
        "sub\\c.jpg,CC0,,,,,,,,",
        "./sub/../sub/dé.jpg,CC0,,,,,,,,",
    )
    report = import_("folder", tmp_path / "c.lance", path=photos)
    assert (report.new, report.skipped, report.remarks, report.complaints) == (4, {}, {}, [])
    found = rows(tmp_path / "c.lance")
    assert set(found) == {"a.jpg", "b.png", "sub/c.jpg", "sub/dé.jpg"}
    first = {name: value for name, value in found["a.jpg"].items() if value is not None}
    assert first == {
        "image_id": "folder:photos/a.jpg",
        "source": "folder",
        "source_id": "photos/a.jpg",
        "page_url": "https://x.example/1",
        "image_url": (photos / "a.jpg").as_uri(),
        "license": "CC-BY-SA-2.0",
        "license_url": "https://creativecommons.org/licenses/by-sa/2.0/",
        "creator": "Ada",
        "creator_url": "https://ada.example",
        "title": 'A "big" day, again',
        "tags": ["sea", "sun"],
        "taken_at": datetime(2019, 5, 1, 10, 30, tzinfo=UTC),
        "label": "a day at sea",
    }
    assert found["b.png"]["taken_at"] == datetime(2019, 5, 1, 10, tzinfo=UTC)
    assert fetch(tmp_path / "c.lance", FetchOptions(size=8)).statuses == {"ok": 4}


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl", "parquet"])
def test_every_kind_of_metadata_file_says_the_same(photos: Path, tmp_path: Path, suffix: str) -> None:
    records = [
        {**ROW, "title": "one", "tags": "x;y"},
        {**ROW, "file": "sub/c.jpg", "title": "two", "tags": "z"},
        {**ROW, "file": "b.png", "title": "three", "tags": None},
        {**ROW, "file": "sub/dé.jpg", "title": None, "tags": None},
    ]
    path = tmp_path / f"about.{suffix}"
    if suffix == "parquet":
        pq.write_table(pa.Table.from_pylist(records), path)
    elif suffix == "jsonl":
        path.write_text("\n\n".join(json.dumps(record) for record in records))
    else:
        mark = "\t" if suffix == "tsv" else ","
        lines = [
            mark.join(records[0]),
            *(mark.join(text or "" for text in record.values()) for record in records),
        ]
        path.write_text("\ufeff" + "\r\n".join(lines), encoding="utf-8")
    report = import_("folder", tmp_path / "c.lance", path=photos, metadata=path)
    assert (report.new, report.skipped) == (4, {})
    found = rows(tmp_path / "c.lance")
    assert {name: (row["title"], row["tags"]) for name, row in found.items()} == {
        "a.jpg": ("one", ["x", "y"]),
        "sub/c.jpg": ("two", ["z"]),
        "b.png": ("three", None),
        "sub/dé.jpg": (None, None),
    }


def test_every_bad_csv_row_is_named_with_its_line_field_and_fault(photos: Path, tmp_path: Path) -> None:
    lines = [
        b"file,license,creator,title",
        b'a.jpg,CC BY 4.0,Ada,"two\nlines"',
        b"a.jpg,CC BY 4.0,Ada,again",
        b"b.png,CC BY 5.0,Ada,unknown licence",
        b"sub/c.jpg,,Ada,no licence",
        "sub/dé.jpg,CC BY 4.0, ,no creator".encode(),
        b"missing.jpg,CC BY 4.0,Ada,",
        b"../outside.jpg,CC BY 4.0,Ada,",
        b"/etc/passwd,CC BY 4.0,Ada,",
        b",CC BY 4.0,Ada,",
        b"b.png,CC BY 4.0,Ada",
        b"b.png,CC BY 4.0,Ad\xe9,latin",
        b'b.png,CC BY 4.0,"Ada"x,quotes',
        b"",
    ]
    (photos / "metadata.csv").write_bytes(b"\n".join(lines))
    report = import_("folder", tmp_path / "c.lance", path=photos)
    assert report.new == 1
    assert report.complaints == [
        "metadata.csv:4: duplicate (a.jpg is already at metadata.csv:2)",
        "metadata.csv:5: unknown licence (field license: 'CC BY 5.0')",
        "metadata.csv:6: no licence (field license is empty)",
        "metadata.csv:7: no creator (CC-BY-4.0 demands attribution, but field creator is empty)",
        "metadata.csv:8: file missing (field file: 'missing.jpg')",
        "metadata.csv:9: outside the folder (field file: '../outside.jpg')",
        "metadata.csv:10: outside the folder (field file: '/etc/passwd')",
        "metadata.csv:11: no file name (none of " + ", ".join(fields.ALIASES["file"]) + " is set)",
        "metadata.csv:12: wrong column count (3 fields, but the header has 4)",
        "metadata.csv:13: bad encoding (field 'creator' is not UTF-8)",
        "metadata.csv:14: malformed row (',' expected after '\"')",
    ]
    assert sum(report.skipped.values()) == 11
    assert report.skipped["outside the folder"] == 2
    assert rows(tmp_path / "c.lance")["a.jpg"]["title"] == "two\nlines"


def test_every_bad_json_line_is_named_and_costs_itself(photos: Path, tmp_path: Path) -> None:
    lines = [
        json.dumps(ROW).encode(),
        b'{"file": "b.png", ',
        b'["b.png"]',
        b'{"file": "b.png", "creator": "\xff"}',
        b'{"file": "b.png", "license": "CC0", "title": "\\ud800"}',
        b"[" * 100_000,
        b'{"file": 5, "license": "CC0"}',
        b'{"file": "sub/c.jpg", "license": "CC0", "date": "yesterday", "source": "my camera", "tags": [1, "x", null]}',
    ]
    (photos / "metadata.jsonl").write_bytes(b"\n".join(lines))
    report = import_("folder", tmp_path / "c.lance", path=photos)
    assert report.new == 2
    assert report.skipped == {"malformed JSON": 3, "bad encoding": 2, "file missing": 1, "no metadata": 2}
    assert report.remarks == {"kept without taken_at": 1, "kept without page_url": 1}
    named = [complaint.split(": ")[0] for complaint in report.complaints]
    assert named[:6] == [f"metadata.jsonl:{line}" for line in (2, 3, 4, 5, 6, 7)]
    assert "metadata.jsonl:8: kept without taken_at ('yesterday' is not a date)" in report.complaints
    assert "b.png: no metadata (metadata.jsonl has no readable row for it)" in report.complaints
    assert rows(tmp_path / "c.lance")["sub/c.jpg"]["tags"] == ["1", "x"]


def test_a_parquet_value_that_python_can_not_hold_costs_its_row(photos: Path, tmp_path: Path) -> None:
    dates = pa.array([0, 2**62, -(2**62)], pa.timestamp("us"))
    names = ["a.jpg", "b.png", "sub/c.jpg"]
    metadata = pa.table({"file": names, "license": ["CC0"] * 3, "date": dates})
    pq.write_table(metadata, photos / "metadata.parquet")
    report = import_("folder", tmp_path / "c.lance", path=photos)
    assert (report.new, report.skipped["bad value"]) == (1, 2)
    assert any(complaint.startswith("metadata.parquet row 2: bad value") for complaint in report.complaints)


def test_sidecars_describe_the_image_beside_them(photos: Path, tmp_path: Path) -> None:
    (photos / "a.jpg.json").write_text(json.dumps({"license": "CC BY 4.0", "author": "Ada", "file": "b.png"}))
    (photos / "sub/c.json").write_text(json.dumps({"licence": "cc0"}))
    (photos / "b.png.json").write_text("{broken")
    report = import_("folder", tmp_path / "c.lance", path=photos)
    assert report.new == 2
    assert report.complaints[0].startswith("b.png.json: malformed JSON")
    assert report.complaints[1].startswith("sub/dé.jpg: no metadata")
    found = rows(tmp_path / "c.lance")
    assert {name: (row["license"], row["creator"]) for name, row in found.items()} == {
        "a.jpg": ("CC-BY-4.0", "Ada"),
        "sub/c.jpg": ("CC0-1.0", None),
    }


def test_one_licence_and_creator_for_all_where_nothing_else_is_said(photos: Path, tmp_path: Path) -> None:
    (photos / "sub/c.json").write_text(json.dumps({"licence": "cc0", "creator": "Bea"}))
    report = import_("folder", tmp_path / "c.lance", path=photos, license="cc-by-4.0", creator="Ada")
    assert (report.new, report.skipped) == (4, {})
    found = rows(tmp_path / "c.lance")
    assert {(row["license"], row["creator"]) for row in found.values()} == {
        ("CC-BY-4.0", "Ada"),
        ("CC0-1.0", "Bea"),
    }


def test_importing_again_adds_only_what_is_new_and_leaves_the_rest(photos: Path, tmp_path: Path) -> None:
    arguments: dict[str, Any] = {"path": photos, "license": "CC0"}
    import_("folder", tmp_path / "c.lance", **arguments)
    fetch(tmp_path / "c.lance", FetchOptions(size=8))
    Image.new("RGB", (8, 8)).save(photos / "new.jpg")
    report = import_("folder", tmp_path / "c.lance", **arguments)
    assert (report.new, report.present) == (1, 4)
    catalog = Catalog.open(tmp_path / "c.lance")
    assert catalog.count("fetch_status = 'ok'") == 4
    assert catalog.count() == 5


def test_two_folders_of_one_name_are_kept_apart_by_name(photos: Path, tmp_path: Path) -> None:
    other = tmp_path / "other" / "photos"
    other.mkdir(parents=True)
    Image.new("RGB", (8, 8), "red").save(other / "a.jpg")
    import_("folder", tmp_path / "c.lance", path=photos, license="CC0")
    report = import_("folder", tmp_path / "c.lance", path=other, license="CC0", name="others")
    assert report.new == 1
    assert Catalog.open(tmp_path / "c.lance").count("image_id = 'folder:others/a.jpg'") == 1


def test_the_column_of_human_text_can_be_chosen(photos: Path, tmp_path: Path) -> None:
    csv(photos, "file,license,alt text,caption", "a.jpg,CC0,what it shows,other")
    import_("folder", tmp_path / "c.lance", path=photos, label_column="alt text")
    assert rows(tmp_path / "c.lance")["a.jpg"]["label"] == "what it shows"
    with pytest.raises(
        SourceError, match="no column 'alt' for labels; it has: file, license, alt text, caption"
    ):
        import_("folder", tmp_path / "d.lance", path=photos, label_column="alt")
    (photos / "metadata.csv").unlink()
    report = import_("folder", tmp_path / "e.lance", path=photos, license="CC0", label_column="alt")
    assert report.notes[0] == "no row has text in 'alt', so no image has a label"


def test_columns_in_another_language_are_asked_for_and_a_second_about_rights_is_pointed_at(
    photos: Path, tmp_path: Path
) -> None:
    metadata = tmp_path / "museum.csv"
    lines = (
        "Datei;Lizenz;Urheber;Nutzung",
        "a.jpg;CC BY 4.0;Ada;",
        "b.png;CC BY 4.0;Ada;All rights reserved",
    )
    metadata.write_text("\n".join(lines) + "\n")

    def imported(**columns: str) -> Report:
        uri = tmp_path / f"{len(columns)}.lance"
        return import_("folder", uri, path=photos, metadata=metadata, columns={"file": "Datei", **columns})

    with pytest.raises(SourceError, match=r"no column with licences; .*license=NAME.* it has: Datei, Lizenz"):
        imported()
    with pytest.raises(
        NothingImportedError, match="no column with creators was found; name it with --column creator=NAME"
    ):
        imported(license="Lizenz")
    report = imported(license="Lizenz", creator="Urheber")
    assert report.new == 2
    assert report.notes[0].startswith("columns that were not read: Nutzung; if one of them is about rights")
    report = imported(license="Lizenz", creator="Urheber", license_url="Nutzung")
    assert report.new == 1 and report.skipped["contradictory licences"] == 1
    assert not any("not read" in note for note in report.notes)


def test_one_file_that_is_gone_says_nothing_about_the_folder(photos: Path, tmp_path: Path) -> None:
    csv(photos, "file,license", "a.jpg,CC0", "b.png,CC0", "gone.jpg,CC0")
    report = import_("folder", tmp_path / "c.lance", path=photos)
    assert report.skipped["file missing"] == 1
    assert not any("names files that are not in" in note for note in report.notes)


def test_metadata_that_is_not_utf_8_is_said_once_with_what_to_do(photos: Path, tmp_path: Path) -> None:
    (photos / "metadata.csv").write_bytes(b"file,license,title\na.jpg,CC0,one\nb.png,CC0,zw\xf6lf\n")
    report = import_("folder", tmp_path / "c.lance", path=photos)
    assert report.notes[0].startswith("the metadata must be UTF-8; save it as UTF-8")
    assert "b.png: no metadata (metadata.csv has no readable row for it)" in report.complaints


def test_a_csv_with_semicolons_is_read_as_excel_writes_it(photos: Path, tmp_path: Path) -> None:
    for mark, before in (*((mark, "") for mark in ";\t|,"), (";", "sep=;\r\n"), (",", '"sep=,"\n')):
        lines = ["file;Licence;Creator;Title", 'a.jpg;CC BY 4.0;Ada;"one; two"', "b.png;CC BY 4.0", ""]
        (photos / "metadata.csv").write_text(before + "\r\n".join(lines).replace(";", mark))
        uri = tmp_path / f"{ord(mark)}{len(before)}.lance"
        report = import_("folder", uri, path=photos)
        assert (report.new, report.skipped["wrong column count"]) == (1, 1), mark
        assert report.complaints[0].startswith(f"metadata.csv:{4 if before else 3}: wrong column count")
        assert rows(uri)["a.jpg"]["title"] == f"one{mark} two"


def test_a_comma_inside_a_name_does_not_split_a_header_of_semicolons(photos: Path, tmp_path: Path) -> None:
    csv(photos, 'file;license;"creator, or author";author;where, when', "a.jpg;CC BY 4.0;;Ada;x, y")
    import_("folder", tmp_path / "c.lance", path=photos)
    assert rows(tmp_path / "c.lance")["a.jpg"]["creator"] == "Ada"


def test_a_text_file_beside_an_image_is_its_label(photos: Path, tmp_path: Path) -> None:
    (photos / "a.txt").write_text("\ufeffa blue square\n")
    (photos / "b.caption").write_text("another")
    (photos / "sub/c.json").write_text(json.dumps({"caption": "from JSON"}))
    (photos / "sub/c.txt").write_text("from text")
    (photos / "sub/dé.txt").write_bytes(b"caf\xe9")
    report = import_("folder", tmp_path / "c.lance", path=photos, license="CC BY 4.0", creator="Ada")
    assert {name: row["label"] for name, row in rows(tmp_path / "c.lance").items()} == {
        "a.jpg": "a blue square",
        "b.png": "another",
        "sub/c.jpg": "from JSON",
        "sub/dé.jpg": None,
    }
    assert report.complaints == ["sub/dé.jpg: kept without label (dé.txt is not UTF-8 at byte 3)"]
    (tmp_path / "secret").write_text("a file elsewhere")
    (photos / "a.txt").unlink()
    (photos / "a.txt").symlink_to(tmp_path / "secret")
    report = import_("folder", tmp_path / "f.lance", path=photos, license="CC0")
    assert rows(tmp_path / "f.lance")["a.jpg"]["label"] is None
    assert report.complaints[0] == "a.jpg: kept without label (a.txt is a link out of the folder)"
    (photos / "a.txt").unlink()
    (photos / "a.txt").write_text("x" * 100_000)
    csv(photos, "file,license,alt", "a.jpg,CC0,", "b.png,CC0,named")
    report = import_("folder", tmp_path / "d.lance", path=photos)
    assert [row["label"] for row in rows(tmp_path / "d.lance").values()] == [None, "another"]
    assert report.remarks == {"kept without label": 1}
    import_("folder", tmp_path / "e.lance", path=photos, label_column="alt")
    assert [row["label"] for row in rows(tmp_path / "e.lance").values()] == [None, "named"]


def test_metadata_in_subfolders_is_read_for_each_as_the_hub_lays_it_out(photos: Path, tmp_path: Path) -> None:
    for split in ("train", "test"):
        (photos / split / "deep").mkdir(parents=True)
        for name in ("0001.png", "deep/2.png"):
            Image.new("RGB", (8, 8)).save(photos / split / name)
    lines = [
        json.dumps({"file_name": name, "license": "CC0", "text": f"train {name}"})
        for name in ("0001.png", "deep/2.png", "no.png")
    ]
    (photos / "train/metadata.jsonl").write_text("\n".join(lines))
    csv(
        photos / "test",
        *("file_name,license,text", "0001.png,CC0,test 0001.png", "deep/2.png,CC0,test deep/2.png"),
        "../../x.png,CC0,",
    )
    report = import_("folder", tmp_path / "c.lance", path=photos)
    assert {name: row["label"] for name, row in rows(tmp_path / "c.lance").items()} == {
        f"{split}/{name}": f"{split} {name}"
        for split in ("train", "test")
        for name in ("0001.png", "deep/2.png")
    }
    assert report.complaints[:3] == [
        "test/metadata.csv:4: outside the folder (field file: '../../x.png')",
        "train/metadata.jsonl:3: file missing (field file: 'no.png')",
        "a.jpg: no metadata (no metadata file has a row for it)",
    ]
    (photos / "test/metadata.parquet").touch()
    with pytest.raises(SourceError, match=r"test has metadata\.csv and metadata\.parquet; choose one"):
        import_("folder", tmp_path / "d.lance", path=photos)
    # Metadata in the folder itself is for all of it.
    csv(photos, "file,license", "train/0001.png,CC0")
    report = import_("folder", tmp_path / "e.lance", path=photos)
    assert (report.new, report.skipped) == (1, {"no metadata": 7})


def test_a_folder_s_metadata_may_have_columns_of_any_name(photos: Path, tmp_path: Path) -> None:
    csv(photos, "Datei;Lizenz;Fotografin;Titel", "a.jpg;CC BY 4.0;Ada;Am See", "x.jpg;CC0;;")
    columns = {"file": "Datei", "license": "Lizenz", "creator": "Fotografin", "title": "Titel"}
    report = import_("folder", tmp_path / "c.lance", path=photos, columns=columns)
    (row,) = rows(tmp_path / "c.lance").values()
    assert (row["license"], row["creator"], row["title"]) == ("CC-BY-4.0", "Ada", "Am See")
    assert report.skipped["file missing"] == 1
    with pytest.raises(SourceError, match="has no column Bild; it has: Datei, Lizenz"):
        import_("folder", tmp_path / "d.lance", path=photos, columns={"file": "Bild"})
    with pytest.raises(SourceError, match="takes no size"):
        import_("folder", tmp_path / "d.lance", path=photos, size=64)
    with pytest.raises(SourceError, match=r"--column file=NAME.*the source table"):
        import_("folder", tmp_path / "d.lance", path=photos)


def test_a_list_that_is_not_read_and_a_licence_that_is_not_known_say_what_to_do(
    photos: Path, tmp_path: Path
) -> None:
    (photos / "list.csv").write_text("file,license\nb.png,Gemeinfrei\n")
    with pytest.raises(SourceError, match=r"not read: .*list\.csv; if .* name it with --metadata"):
        import_("folder", tmp_path / "c.lance", path=photos)
    with pytest.raises(SourceError, match=r"'Gemeinfrei'.*write each licence as its English name"):
        import_("folder", tmp_path / "c.lance", path=photos, metadata=photos / "list.csv")


def test_names_that_one_system_composes_and_another_decomposes_are_the_same_file(
    photos: Path, tmp_path: Path
) -> None:
    (photos / "sub/dé.jpg").rename(photos / "sub/de\u0301.jpg")
    csv(photos, "file,license", "sub/d\u00e9.jpg,CC0")
    report = import_("folder", tmp_path / "c.lance", path=photos)
    assert report.new == 1
    assert report.skipped == {"no metadata": 3}
    assert fetch(tmp_path / "c.lance", FetchOptions(size=8)).statuses == {"ok": 1}
    assert set(rows(tmp_path / "c.lance")) == {"sub/d\u00e9.jpg"}


def test_what_is_wrong_with_the_whole_is_one_line_and_makes_no_catalog(photos: Path, tmp_path: Path) -> None:
    uri = tmp_path / "c.lance"
    cases: list[tuple[dict[str, Any], str]] = [
        ({}, "needs the PATH"),
        ({"path": photos / "nowhere"}, "is not a folder"),
        ({"path": photos, "license": "CC BY 4.0"}, "CC-BY-4.0 demands attribution; .*--creator"),
        ({"path": photos, "metadata": photos / "x.csv"}, "is not a file"),
        ({"path": photos, "metadata": photos / "notes.txt"}, "its name must end in: .csv"),
    ]
    for arguments, message in cases:
        with pytest.raises(SourceError, match=message):
            import_("folder", uri, **arguments)
    with pytest.raises(LicenseError, match="'CC BY 9' of --license is unknown"):
        import_("folder", uri, path=photos, license="CC BY 9")
    for text, message in (
        ("", "is empty"),
        ("a,b\n", "has no column with image files"),
        ("file,file\n", "'file' twice"),
    ):
        (photos / "metadata.csv").write_text(text)
        with pytest.raises(SourceError, match=message):
            import_("folder", uri, path=photos)
    (photos / "metadata.csv").write_bytes(b"file,cr\xe9ator\n")
    with pytest.raises(SourceError, match=r"the first line of metadata .* can't be read: .*save it as UTF-8"):
        import_("folder", uri, path=photos)
    (photos / "metadata.parquet").write_bytes(b"PAR1 nonsense")
    with pytest.raises(SourceError, match=r"metadata\.csv and metadata\.parquet; choose one"):
        import_("folder", uri, path=photos)
    with pytest.raises(SourceError, match="is not a readable Parquet file"):
        import_("folder", uri, path=photos, metadata=photos / "metadata.parquet")
    assert not uri.exists()


def test_a_file_name_that_is_no_text_is_skipped_and_said(photos: Path, tmp_path: Path) -> None:
    (photos / os.fsdecode(b"\xff.jpg")).touch()
    report = import_("folder", tmp_path / "c.lance", path=photos, license="CC0")
    assert report.new == 4
    assert report.skipped == {"bad encoding": 1}


@given(
    st.dictionaries(
        st.text(max_size=20), st.one_of(st.none(), st.text(), st.integers(), st.floats(), st.lists(st.text()))
    )
)
def test_no_record_breaks_the_reading_of_its_fields(record: dict[str, Any]) -> None:
    named = {fields.normalise(name): value for name, value in record.items()}
    for column in fields.ALIASES:
        value = fields.find(named, column)
        found = fields.text(value)
        # Of a list, its only text.
        texts = {str(each).strip() for each in (value if isinstance(value, list) else [value])} - {""}
        assert found is None or (found in texts and (not isinstance(value, list) or len(texts) == 1))
        tags = fields.tag_list(value)
        assert tags is None or (len(tags) == len(set(tags)) > 0 and all(tags))
        assert fields.moment(value) is None or fields.moment(value).tzinfo is UTC  # type: ignore[union-attr]


@given(st.datetimes(min_value=datetime(1800, 1, 1), max_value=datetime(2200, 1, 1)))
def test_dates_are_read_as_iso_and_as_exif_writes_them(moment: datetime) -> None:
    moment = moment.replace(microsecond=0)
    expected = moment.replace(tzinfo=UTC)
    for written in (
        moment,
        expected,
        moment.isoformat(),
        f"{moment.isoformat()}Z",
        f"{moment:%Y:%m:%d %H:%M:%S}",
    ):
        assert fields.moment(written) == expected
    assert fields.moment(moment.date()) == datetime(moment.year, moment.month, moment.day, tzinfo=UTC)


def test_a_metadata_file_that_is_a_link_out_of_the_folder_is_refused(photos: Path, tmp_path: Path) -> None:
    csv(tmp_path, "file,license,creator", "a.jpg,CC0,Ada")
    (photos / "metadata.csv").symlink_to(tmp_path / "metadata.csv")
    with pytest.raises(
        SourceError, match=r"metadata.csv is a link out of the folder; name it with --metadata"
    ):
        import_("folder", tmp_path / "c.lance", photos)
    assert import_("folder", tmp_path / "c.lance", photos, follow_links=True).new == 1
    assert import_("folder", tmp_path / "d.lance", photos, metadata=tmp_path / "metadata.csv").new == 1
