"""The table source: any list of images with their rights, by addresses or files beside it, in any kind of file."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from commoncanvas.catalog import Catalog, FetchOptions, fetch, import_
from commoncanvas.core.errors import SourceError
from tests.catalog.imports import imported, picture

LIST = {"url": "https://x.example/a.jpg", "license": "CC BY 4.0", "creator": "Ada", "title": "A view"}


def write(path: Path, *records: dict[str, Any]) -> Path:
    match path.suffix:
        case ".parquet":
            pq.write_table(pa.Table.from_pylist(list(records)), path)
        case ".jsonl":
            path.write_text("\n".join(map(json.dumps, records)))
        case suffix:
            with path.open("w", newline="") as file:
                mark = "\t" if suffix == ".tsv" else ","
                writer = csv.DictWriter(file, list(records[0]), delimiter=mark, restval="")
                writer.writeheader()
                writer.writerows(records)
    return path


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl", "parquet"])
def test_what_img2dataset_s_users_bring_is_read_in_every_form(suffix: str, tmp_path: Path) -> None:
    other = {**LIST, "url": "HTTP://x.example/b.jpg", "license": "All rights reserved"}
    path = write(tmp_path / f"list.{suffix}", LIST, other, {**LIST, "url": "", "title": ""})
    rows, report = imported("table", tmp_path / "c.lance", path=path)
    assert report.skipped == {"no image": 1}
    first, second = rows.values()
    assert first == {
        "image_id": first["image_id"],
        "source": "table",
        "source_id": first["source_id"],
        "image_url": "https://x.example/a.jpg",
        "license": "CC-BY-4.0",
        "license_url": "https://creativecommons.org/licenses/by/4.0/",
        "creator": "Ada",
        "title": "A view",
    }
    assert first["source_id"].startswith("list/url-")
    assert second["license"] == "all-rights-reserved"


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_columns_of_any_name_are_taken_by_the_map_of_the_user(suffix: str, tmp_path: Path) -> None:
    record = {
        "Bild": "https://x.example/1.jpg",
        "Lizenz": "CC BY 4.0",
        "Fotograf": "Bea",
        "Nummer": "17",
        "Seite": "https://x.example/17",
        "Land": "DE",
        "Text": "ein Haus",
    }
    columns = {"image": "Bild", "license": "Lizenz", "creator": "Fotograf", "id": "Nummer"}
    columns |= {"page_url": "Seite", "country": "Land"}
    said: dict[str, Any] = {"path": write(tmp_path / f"a.{suffix}", record), "columns": columns}
    rows, report = imported("table", tmp_path / "c.lance", **said, label_column="Text", name="haus")
    (row,) = rows.values()
    assert report.complaints == []
    assert {
        name: row[name] for name in ("image_id", "license", "creator", "page_url", "country", "label")
    } == {
        "image_id": "table:haus/17",
        "license": "CC-BY-4.0",
        "creator": "Bea",
        "page_url": "https://x.example/17",
        "country": "DE",
        "label": "ein Haus",
    }


def test_addresses_and_files_beside_the_table_stand_in_one_column_and_are_fetched(tmp_path: Path) -> None:
    folder = tmp_path / "museum"
    (folder / "sub").mkdir(parents=True)
    (tmp_path / "outside.png").write_bytes(picture(format="PNG"))
    (folder / "a b.png").write_bytes(picture(format="PNG"))
    (folder / "sub/c.jpg").write_bytes(picture(seed=1))
    (folder / "link.png").symlink_to(tmp_path / "outside.png")
    given = [
        "a b.png",
        "sub\\c.jpg",
        (folder / "sub/c.jpg").as_uri(),
        "https://x.example/a.jpg",
        "../outside.png",
    ]
    given += [
        f"{tmp_path}/outside.png",
        "link.png",
        "file:///etc/passwd",
        "s3://b/a.jpg",
        "data:image/png,x",
        "no.png",
    ]
    path = write(folder / "list.csv", *({**LIST, "url": each, "key": str(n)} for n, each in enumerate(given)))
    rows, report = imported("table", tmp_path / "c.lance", path=path)
    assert {name: row["image_url"] for name, row in rows.items()} == {
        "table:list/0": (folder / "a b.png").as_uri(),
        "table:list/1": (folder / "sub/c.jpg").as_uri(),
        "table:list/2": (folder / "sub/c.jpg").as_uri(),
        "table:list/3": "https://x.example/a.jpg",
    }
    assert report.skipped == {
        "outside the folder": 3, "link out of the folder": 1, "no image address": 2, "file missing": 1
    }  # fmt: skip
    assert "import folder FOLDER --metadata" in report.notes[0]
    fetch(tmp_path / "c.lance", FetchOptions(size=16), where="image_url LIKE 'file:%'")
    assert Catalog.open(tmp_path / "c.lance").count("fetch_status = 'ok'") == 3
    rows, _ = imported("table", tmp_path / "d.lance", path=path, follow_links=True)
    assert "table:list/6" in rows


def test_a_row_of_another_source_names_no_file_and_a_bare_path_is_none_of_a_table_s(tmp_path: Path) -> None:
    secret = tmp_path / "secret.png"
    secret.write_bytes(picture(format="PNG"))
    path = write(tmp_path / "list.csv", LIST)
    import_("table", tmp_path / "c.lance", path=path)
    catalog = Catalog.open(tmp_path / "c.lance")
    row = catalog.table(catalog.schema.names).to_pylist()[0]
    catalog.add(
        [
            pa.RecordBatch.from_pylist(
                [{**row, "image_id": "table:x", "image_url": str(secret)}], catalog.schema
            )
        ]
    )
    fetch(tmp_path / "c.lance", FetchOptions(size=16), where="image_id = 'table:x'")
    catalog = Catalog.open(tmp_path / "c.lance")
    assert catalog.count("image_id = 'table:x' AND fetch_status = 'refused'") == 1


def test_ids_are_what_a_row_is_wherever_it_stands(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(picture(format="PNG"))
    records = [LIST, {**LIST, "url": "a.png"}, {**LIST, "url": "https://x.example/c.jpg"}]
    first, _ = imported("table", tmp_path / "c.lance", path=write(tmp_path / "list.csv", *records))
    report = import_(
        "table", tmp_path / "c.lance", path=write(tmp_path / "list.csv", *reversed(records), LIST)
    )
    assert (report.new, report.present) == (0, 4)
    assert "table:list/a.png" in first


def test_url_is_the_image_alone_and_the_page_beside_another_column(tmp_path: Path) -> None:
    page = {**LIST, "url": "https://x.example/page", "Image URL": "https://x.example/1.jpg"}
    rows, _ = imported("table", tmp_path / "c.lance", path=write(tmp_path / "a.csv", page))
    assert [(row["image_url"], row["page_url"]) for row in rows.values()] == [
        (page["Image URL"], page["url"])
    ]


def test_several_images_of_a_record_and_a_missing_id_are_said(tmp_path: Path) -> None:
    several = {**LIST, "url": ["https://x.example/1.jpg", "https://x.example/2.jpg"], "nr": "1"}
    path = write(tmp_path / "a.jsonl", several, {**LIST, "nr": None}, {"nr": "2", "license": "CC0"})
    rows, report = imported("table", tmp_path / "c.lance", path=path, columns={"id": "nr"})
    assert list(rows) == ["table:a/1"]
    assert report.complaints == [
        "a.jsonl:1: only first image kept (field url names 2 images)",
        "a.jsonl:2: no id (field nr is empty)",
        "a.jsonl:3: no image (field image_url is empty)",
    ]


def test_a_folder_of_shards_is_one_list_and_two_lists_of_one_name_are_refused(tmp_path: Path) -> None:
    for name in ("shards", "other/shards"):
        (tmp_path / name).mkdir(parents=True)
        for number in range(2):
            record = {**LIST, "url": f"https://x.example/{name}/{number}.jpg", "id": str(number)}
            write(tmp_path / name / f"part-{number}.parquet", record)
    rows, _ = imported("table", tmp_path / "c.lance", path=tmp_path / "shards")
    assert list(rows) == ["table:shards/0", "table:shards/1"]
    with pytest.raises(
        SourceError, match="both with the name shards; import them separately, each with its own --name"
    ):
        imported("table", tmp_path / "c.lance", paths=(tmp_path / "shards", tmp_path / "other/shards"))


def test_what_no_row_could_say_is_one_line_before_anything_is_imported(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", {"Bild": "a.jpg", "Lizenz": "CC BY 4.0"})
    for said, message in (
        ({}, "no column with licences"),
        ({"license": "CC0"}, r"no image column among Bild, Lizenz; name it with --column image_url=NAME"),
        ({"columns": {"image": "Foto"}}, "has no column Foto; it has: Bild, Lizenz"),
        ({"columns": {"bild": "Bild"}}, "column bild can't be mapped; these can: id, image_url"),
        ({"columns": {"image": "Bild"}, "license": "CC BY 4.0"}, "demands attribution.*--creator"),
        ({"license": "CC0", "size": 512}, "takes no size"),
    ):
        with pytest.raises(SourceError, match=message):
            imported("table", tmp_path / "c.lance", path=path, **said)  # type: ignore[arg-type]
    with pytest.raises(SourceError, match=r"source table can't read .*; its name must end in one of"):
        imported("table", tmp_path / "c.lance", path=write(tmp_path / "a.txt", LIST))
    assert not (tmp_path / "c.lance").exists()


def test_lists_of_one_are_read_wherever_one_value_is_meant(tmp_path: Path) -> None:
    said = {"image_url": ["https://x.example/a.jpg"], "id": ["a-1"], "original_width": [640], "land": ["de"]}
    path = write(tmp_path / "list.jsonl", {**LIST, **said}, {**LIST, **said, "id": "b", "land": ["de", "fr"]})
    rows, report = imported("table", tmp_path / "c.lance", path=path, columns={"country": "land"})
    assert list(rows) == ["table:list/a-1", "table:list/b"]
    assert rows["table:list/a-1"]["image_url"] == "https://x.example/a.jpg"
    assert rows["table:list/a-1"]["original_width"] == 640
    assert rows["table:list/a-1"]["country"] == "DE"
    assert report.remarks == {"kept without country": 1}


@pytest.mark.parametrize(
    "nested", [{"creator": {"name": "\ud800"}}, {"tags": [["\ud800"]]}, {"notes": [{"\ud800": 1}]}]
)
def test_half_of_a_surrogate_pair_costs_its_row_however_deep_it_is(
    nested: dict[str, Any], tmp_path: Path
) -> None:
    path = write(
        tmp_path / "list.jsonl", {**LIST, **nested}, LIST, {**LIST, "url": "https://x.example/b.jpg"}
    )
    rows, report = imported("table", tmp_path / "c.lance", path=path)
    assert len(rows) == 2
    assert report.skipped == {"bad encoding": 1}


def test_a_deep_document_ends_nothing(tmp_path: Path) -> None:
    path = write(tmp_path / "list.jsonl", LIST)
    deep = json.dumps({**LIST, "url": "https://x.example/b.jpg", "notes": 0}).replace(
        ": 0", ": " + "[" * 900 + "]" * 900
    )
    path.write_text(f"{path.read_text()}\n{deep}\n")
    rows, _ = imported("table", tmp_path / "c.lance", path=path)
    assert len(rows) == 2
