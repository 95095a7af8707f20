"""The huggingface source: folders of Parquet, saved data sets and streams, with people's own column names."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from commoncanvas.catalog import Catalog, import_
from commoncanvas.catalog.importing.sources import Report, make_source
from commoncanvas.catalog.importing.sources.huggingface import HuggingFace, hub_parts
from commoncanvas.core.errors import MissingExtraError, SourceError
from tests.catalog.imports import imported, options, picture

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
SCHEMA = pa.schema(
    [
        ("image", IMAGE),
        ("license", pa.string()),
        ("artist", pa.string()),
        ("title", pa.string()),
        ("url", pa.string()),
        ("label", pa.int64()),
    ]
)


def record(number: int, **said: Any) -> dict[str, Any]:
    return {
        "image": {"bytes": picture(seed=number, format="PNG"), "path": f"{number}.png"},
        "license": "cc-by-4.0",
        "artist": "Ada",
        "title": f"Painting {number}",
        "url": f"https://museum.example/{number}",
        "label": 3,
        **said,
    }


def by_image(dataset: str, *numbers: int) -> list[str]:
    """The ids of the images of `record`s that have no other."""
    digests = (hashlib.sha256(picture(seed=number, format="PNG")).hexdigest() for number in numbers)
    return [f"huggingface:{dataset}/sha256-{digest[:32]}" for digest in digests]


def repository(
    folder: Path, *records: dict[str, Any], split: str = "train", schema: pa.Schema = SCHEMA
) -> Path:
    """A folder in the hub's layout."""
    (folder / "data").mkdir(parents=True, exist_ok=True)
    table = pa.Table.from_pylist(list(records), schema)
    pq.write_table(table, folder / "data" / f"{split}-00000-of-00001.parquet", row_group_size=2)
    (folder / "README.md").write_text("---\nlicense: cc-by-4.0\n---\n")
    return folder


def saved(folder: Path, *records: dict[str, Any], splits: tuple[str, ...] = ()) -> Path:
    """A folder as `Dataset.save_to_disk` (or `DatasetDict`'s, with splits) lays it out."""
    for place in [folder / split for split in splits] or [folder]:
        place.mkdir(parents=True)
        table = pa.Table.from_pylist(list(records), SCHEMA)
        with (
            pa.OSFile(str(place / "data-00000-of-00001.arrow"), "wb") as sink,
            pa.ipc.new_stream(sink, SCHEMA) as to,
        ):
            to.write_table(table, max_chunksize=20)
        state = {"_data_files": [{"filename": "data-00000-of-00001.arrow"}], "_split": "train"}
        (place / "state.json").write_text(json.dumps(state))
        (place / "dataset_info.json").write_text("{}")
    if splits:
        (folder / "dataset_dict.json").write_text(json.dumps({"splits": list(splits)}))
    return folder


def test_a_folder_of_parquet_files_brings_images_and_people(tmp_path: Path) -> None:
    path = repository(tmp_path / "museum", record(1), record(2), record(3))
    rows, report = imported("huggingface", tmp_path / "c.lance", path=path)
    assert (report.skipped, report.remarks) == ({}, {})
    assert list(rows) == by_image("museum", 1, 2, 3)
    row = rows[by_image("museum", 2)[0]]
    assert row["image"] == picture(seed=2, format="PNG")
    wanted = ("license", "creator", "title", "page_url", "fetch_status", "original_width")
    assert [row[name] for name in wanted] == [
        "CC-BY-4.0",
        "Ada",
        "Painting 2",
        "https://museum.example/2",
        "ok",
        24,
    ]
    # Neither a class's number nor the page is what it could be taken for.
    assert not {"label", "image_url"} & set(row)


def test_columns_are_found_by_the_map_that_the_user_gives(tmp_path: Path) -> None:
    schema = pa.schema(
        [
            ("img", pa.binary()),
            ("thumb", pa.binary()),
            ("lic", pa.string()),
            ("who", pa.string()),
            ("artist", pa.string()),
            ("accession", pa.int64()),
            ("words", pa.string()),
            ("file_at", pa.string()),
        ]
    )
    row = {
        "img": picture(seed=1),
        "thumb": b"no image",
        "lic": "https://creativecommons.org/licenses/by/4.0/",
        "who": "Bea",
        "artist": "somebody else",
        "accession": 77,
        "words": "a red barn",
        "file_at": "https://museum.example/77.jpg",
    }
    path = repository(tmp_path / "museum", row, {**row, "accession": None}, schema=schema)
    columns = {"image": "img", "license": "lic", "creator": "who", "id": "accession", "image_url": "file_at"}
    rows, report = imported(
        "huggingface", tmp_path / "c.lance", path=path, columns=columns, label_column="words", name="art"
    )
    assert report.skipped == {"no id": 1}
    found = rows["huggingface:art/77"]
    assert (found["creator"], found["license"], found["label"]) == ("Bea", "CC-BY-4.0", "a red barn")
    assert (found["image_url"], found["fetch_status"]) == ("https://museum.example/77.jpg", "ok")
    for wrong, message in (
        ({}, "no unique image column among img, thumb"),
        ({"image": "picture"}, "has no column picture; it has: img"),
        ({"picture": "img"}, "column picture can.t be mapped"),
        ({"image": "img"}, "no column with licences"),
    ):
        with pytest.raises(SourceError, match=message):
            make_source("huggingface", options(path=path, columns=wrong))


@pytest.mark.parametrize("splits", [(), ("train", "test")])
def test_what_save_to_disk_wrote_is_read_without_datasets(tmp_path: Path, splits: tuple[str, ...]) -> None:
    path = saved(tmp_path / "art", *(record(number) for number in range(45)), splits=splits)
    rows, report = imported("huggingface", tmp_path / "c.lance", path=path)
    # An image of two splits is one row.
    assert (len(rows), report.skipped) == (45, {"duplicate id": 45} if len(splits) > 1 else {})
    assert rows[by_image("art", 44)[0]]["image"] == picture(seed=44, format="PNG")


def test_every_bad_row_costs_itself_and_is_named(tmp_path: Path) -> None:
    path = repository(
        tmp_path / "m",
        record(1),
        record(2, license="mine"),
        record(3, artist=" "),
        record(4, image=None),
        record(5, image={"bytes": b"no image", "path": "5.png"}),
        record(6, image={"bytes": None, "path": "../../../etc/passwd"}),
        record(7, image={"bytes": None, "path": "beside.png"}),
        record(8, license=None),
        record(9, url="nowhere"),
    )
    (path / "data" / "beside.png").write_bytes(picture(format="PNG"))
    rows, report = imported("huggingface", tmp_path / "c.lance", path=path)
    assert [row["fetch_status"] for row in rows.values()] == ["ok", "not_an_image", "ok", "ok"]
    assert [row["title"] for row in rows.values()] == [f"Painting {number}" for number in (1, 5, 7, 9)]
    assert report.skipped == {"unknown licence": 1, "no creator": 1, "no image": 2, "no licence": 1}
    assert report.remarks == {"kept without image": 1, "kept without page_url": 1}
    assert "train-00000-of-00001.parquet row 2: unknown licence (field license: 'mine')" in report.complaints


def test_addresses_alone_are_left_to_fetch(tmp_path: Path) -> None:
    schema = pa.schema([("url", pa.string()), ("license", pa.string()), ("artist", pa.string())])
    row = {"url": "https://museum.example/1.jpg", "license": "CC0", "artist": None}
    path = repository(tmp_path / "m", row, {**row, "url": None}, schema=schema)
    rows, report = imported("huggingface", tmp_path / "c.lance", path=path)
    assert [(r["image_url"], r.get("page_url"), r.get("fetch_status")) for r in rows.values()] == [
        ("https://museum.example/1.jpg", None, None)
    ]
    assert report.skipped == {"no image": 1}


def split(folder: Path, rows: list[dict[str, Any]], schema: pa.Schema = SCHEMA) -> Path:
    """The same rows in files of three."""
    (folder / "data").mkdir(parents=True)
    for start in range(0, len(rows), 3):
        table = pa.Table.from_pylist(rows[start : start + 3], schema)
        pq.write_table(table, folder / "data" / f"train-{start:05}.parquet")
    return folder


@pytest.mark.parametrize("what", ["key", "address", "image"])
def test_a_row_on_top_brings_its_image_and_no_other_twice(tmp_path: Path, what: str) -> None:
    fields = [("license", pa.string()), ("artist", pa.string())]
    fields.append(
        {"key": ("__key__", pa.string()), "address": ("image_url", pa.string())}.get(what, ("x", pa.int8()))
    )
    schema = (
        pa.schema([("image", IMAGE), *fields])
        if what == "image"
        else pa.schema([*fields, ("url", pa.string())])
    )

    def row(number: int) -> dict[str, Any]:
        address = f"https://museum.example/{number}.jpg"
        said = {
            "__key__": f"{number:05}",
            "image_url": address,
            "url": address,
            "image": record(number)["image"],
        }
        return {"license": "CC0", **{name: said[name] for name in schema.names if name in said}}

    uri = tmp_path / "c.lance"
    before = split(tmp_path / "1" / "art", [row(number) for number in range(1, 8)], schema)
    after = split(tmp_path / "2" / "art", [row(number) for number in range(8)], schema)
    assert import_("huggingface", uri, path=before).new == 7
    report = import_("huggingface", uri, path=after)
    assert (report.new, report.present, report.skipped) == (1, 7, {})
    ids = Catalog.open(uri).table(["image_id"])["image_id"].to_pylist()
    assert len(set(ids)) == 8
    if what == "key":
        assert set(ids) == {f"huggingface:art/{number:05}" for number in range(8)}


def test_ids_that_come_twice_are_refused_and_another_column_can_be_named(tmp_path: Path) -> None:
    schema = pa.schema([*SCHEMA, ("id", pa.int64()), ("accession", pa.string())])
    rows = [record(number, id=number // 2, accession=f"A.{number}") for number in range(6)]
    path = repository(tmp_path / "m", *rows, schema=schema)
    found, report = imported("huggingface", tmp_path / "c.lance", path=path)
    assert (list(found), report.skipped) == ([f"huggingface:m/{n}" for n in range(3)], {"duplicate id": 3})
    assert "name a column with unique values with --id-column" in report.complaints[0]
    assert import_("huggingface", tmp_path / "d.lance", path=path, id_column="accession").new == 6


def test_one_licence_and_creator_for_all_where_the_columns_say_nothing(tmp_path: Path) -> None:
    schema = pa.schema([("image", IMAGE)])
    path = repository(tmp_path / "m", {"image": record(1)["image"]}, schema=schema)
    with pytest.raises(SourceError, match=r"CC-BY-4\.0 demands attribution; .*--creator"):
        make_source("huggingface", options(path=path, license="CC BY 4.0"))
    rows, _ = imported("huggingface", tmp_path / "c.lance", path=path, license="CC BY 4.0", creator="Cleo")
    assert [(row["license"], row["creator"]) for row in rows.values()] == [("CC-BY-4.0", "Cleo")]


def test_what_is_cut_off_or_not_there_is_one_line(tmp_path: Path) -> None:
    path = repository(tmp_path / "m", record(1)) / "data" / "train-00000-of-00001.parquet"
    path.write_bytes(path.read_bytes()[:-50])
    arrow = saved(tmp_path / "s", record(1)) / "data-00000-of-00001.arrow"
    arrow.write_bytes(b"\x00" * 30)
    (tmp_path / "empty").mkdir()
    for bad, message in (
        (None, "needs the PATH of a data set"),
        (tmp_path / "m", "is not a readable Parquet file"),
        (tmp_path / "s", "is not a readable Arrow stream"),
        (tmp_path / "empty", "has no Parquet file, and is not a folder from save_to_disk"),
        (Path("/not/there"), "does not exist, and is not a hub id"),
    ):
        with pytest.raises(SourceError, match=message):
            make_source("huggingface", options(path=bad))


def test_a_saved_stream_that_ends_early_is_told_after_the_rows_before_it(tmp_path: Path) -> None:
    path = saved(tmp_path / "s", *(record(number) for number in range(60)))
    file = path / "data-00000-of-00001.arrow"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    found, report = [], Report()
    with pytest.raises(SourceError, match=r"00001\.arrow can't be read after row 20"):
        for row in make_source("huggingface", options(path=path)).rows(report):
            found.append(row)
    assert len(found) <= 20


def test_a_hub_id_without_the_extra_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "datasets", None)
    with pytest.raises(MissingExtraError, match=r"commoncanvas\[huggingface\]"):
        make_source("huggingface", options(path=Path("owner/name")))


@pytest.mark.parametrize("typed", [False, True])
def test_a_stream_of_datasets_says_the_same_as_the_files(tmp_path: Path, typed: bool) -> None:
    """The way that a hub id takes, on a folder: `load_dataset` with streaming doesn't tell the two apart."""
    datasets = pytest.importorskip("datasets")
    path = repository(tmp_path / "museum", record(1), record(2), record(3, license="mine"))
    if typed:
        plain = datasets.Features.from_arrow_schema(SCHEMA)
        features = datasets.Features({**plain, "image": datasets.Image()})
        table = datasets.Dataset.from_list(
            [record(1), record(2), record(3, license="mine")], features=features
        )
        table.to_parquet(str(path / "data" / "train-00000-of-00001.parquet"))
    source = HuggingFace(options(path=path))
    files = [dict(row) for row in source.rows(Report())]
    source.parts = list(hub_parts(str(path), "museum"))
    report = Report()
    streamed = [dict(row) for row in source.rows(report)]
    ids = [row.pop("image_id") for row in streamed]
    assert ids == by_image("museum", 1, 2)
    assert report.skipped == {"unknown licence": 1}
    assert [row["fetch_status"] for row in streamed] == ["ok", "ok"]
    for one, other in zip(files, streamed, strict=True):
        assert {**one, "source_id": None} == {**other, "image_id": one["image_id"], "source_id": None}


def test_a_stream_that_must_be_looked_into_for_its_columns_is_read(tmp_path: Path) -> None:
    pytest.importorskip("datasets")
    lines = [
        {"image_url": f"https://x.example/{n}.jpg", "license": "CC0", "label": "a boat"} for n in range(3)
    ]
    (tmp_path / "lines").mkdir()
    (tmp_path / "lines" / "train.jsonl").write_text("\n".join(json.dumps(line) for line in lines))
    source = HuggingFace(options(path=repository(tmp_path / "any", record(1))))
    source.parts = list(hub_parts(str(tmp_path / "lines"), "lines"))
    assert [row["image_url"] for row in source.rows(Report())] == [line["image_url"] for line in lines]


def test_what_datasets_itself_saves_is_read(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"image": datasets.Image(), "license": datasets.Value("string")})
    rows = {"image": [{"bytes": picture(seed=5), "path": None}], "license": ["CC0"]}
    table = datasets.Dataset.from_dict(rows, features=features)
    datasets.DatasetDict({"train": table}).save_to_disk(str(tmp_path / "mine"))
    found, report = imported("huggingface", tmp_path / "c.lance", path=tmp_path / "mine")
    assert [(row["fetch_status"], row["image"]) for row in found.values()] == [("ok", picture(seed=5))]
    assert report.skipped == {}


def test_a_data_set_that_datasets_can_t_open_is_one_line(tmp_path: Path) -> None:
    pytest.importorskip("datasets")
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match="datasets can't read"):
        list(hub_parts(str(tmp_path / "empty")))


def test_addresses_ids_and_images_in_lists_of_one_are_read(tmp_path: Path) -> None:
    schema = pa.schema(
        [
            ("image_url", pa.list_(pa.string())),
            ("id", pa.list_(pa.string())),
            ("image", pa.list_(IMAGE)),
            ("license", pa.string()),
            ("artist", pa.string()),
        ]
    )
    image = {"bytes": picture(seed=1, format="PNG"), "path": None}
    record = {"license": "cc0", "artist": "Ada"}
    folder = repository(
        tmp_path / "set",
        {**record, "image_url": ["https://x.example/1.jpg"], "id": ["one"]},
        {**record, "image": [image], "id": ["two"]},
        schema=schema,
    )
    rows, _ = imported("huggingface", tmp_path / "c.lance", path=folder, columns={"image": "image"})
    assert rows["huggingface:set/one"]["image_url"] == "https://x.example/1.jpg"
    assert rows["huggingface:set/two"]["fetch_status"] == "ok"
