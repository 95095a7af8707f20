"""The img2dataset source: its three kinds of output, with what failed left to fetch and what is torn named."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from commoncanvas.catalog import Catalog, fetch, import_
from commoncanvas.catalog.importing.sources import Report, make_source
from commoncanvas.core.errors import LicenseError, SourceError
from tests.catalog.imports import imported, options, picture

SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("url", "caption", "license", "Photographer", "key", "status")),
        ("error_message", pa.string()),
        *((name, pa.int32()) for name in ("width", "height", "original_width", "original_height")),
        ("exif", pa.string()),
        ("sha256", pa.string()),
    ]
)


def meta(number: int, **said: Any) -> dict[str, Any]:
    return {
        "url": f"https://photos.example/{number}.jpg",
        "caption": f"photo {number}",
        "license": "CC BY 4.0",
        "Photographer": "Ada",
        "key": f"{number:09}",
        "status": "success",
        "error_message": None,
        "width": 24,
        "height": 16,
        "original_width": 240,
        "original_height": 160,
        "exif": '{"GPS GPSLatitude": "[52, 30, 0]"}',
        "sha256": "0" * 64,
        **said,
    }


FAILED = {
    "status": "failed_to_download",
    "error_message": "HTTP Error 404: Not Found",
    "width": None,
    "height": None,
    "original_width": None,
    "original_height": None,
}


def parquet(path: Path, *records: dict[str, Any], images: bool = False) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    schema = SCHEMA.append(pa.field("jpg", pa.binary())) if images else SCHEMA
    pq.write_table(pa.Table.from_pylist(list(records), schema), path)
    return path


def tar(path: Path, *files: tuple[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, data in files:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def sample(number: int, **said: Any) -> list[tuple[str, bytes]]:
    """The files of one sample in the order in which webdataset's TarWriter writes them."""
    about = json.dumps(meta(number, **said), indent=4).encode()
    key = f"{number:09}"
    return [
        (f"{key}.jpg", picture(seed=number)),
        (f"{key}.json", about),
        (f"{key}.txt", b"photo"),
    ]


def test_a_webdataset_shard_brings_images_and_its_parquet_what_failed(tmp_path: Path) -> None:
    out = tmp_path / "laion"
    tar(out / "00000.tar", *sample(0), *sample(1))
    parquet(out / "00000.parquet", meta(0), meta(1), meta(2, **FAILED))
    (out / "00000_stats.json").write_text("{}")
    rows, report = imported("img2dataset", tmp_path / "c.lance", path=out)
    assert report.skipped == {}
    assert report.complaints == [
        "00000.parquet row 3: needs fetch (failed_to_download HTTP Error 404: Not Found)"
    ]
    assert {key: row.get("fetch_status") for key, row in rows.items()} == {
        "img2dataset:laion/000000000": "ok",
        "img2dataset:laion/000000001": "ok",
        "img2dataset:laion/000000002": None,
    }
    row = rows["img2dataset:laion/000000001"]
    assert row["image"] == picture(seed=1)
    wanted = ("image_url", "license", "creator", "label", "original_width", "width")
    assert [row[name] for name in wanted] == [
        "https://photos.example/1.jpg",
        "CC-BY-4.0",
        "Ada",
        "photo 1",
        240,
        24,
    ]
    assert "page_url" not in row
    assert "image" not in rows["img2dataset:laion/000000002"]


def test_parquet_with_images_and_files_beside_parquet_say_the_same(tmp_path: Path) -> None:
    inside = parquet(tmp_path / "a" / "00000.parquet", meta(7, jpg=picture(seed=7)), images=True)
    beside = parquet(tmp_path / "b" / "00000.parquet", meta(7))
    (tmp_path / "b" / "00000").mkdir()
    (tmp_path / "b" / "00000" / "000000007.jpg").write_bytes(picture(seed=7))
    first, _ = imported("img2dataset", tmp_path / "c.lance", path=inside, name="x")
    second, _ = imported("img2dataset", tmp_path / "d.lance", path=beside.parent, name="x")
    assert first == second
    assert first["img2dataset:x/000000007"]["fetch_status"] == "ok"


def test_nothing_that_came_along_is_fetched_again(tmp_path: Path) -> None:
    tar(tmp_path / "out" / "00000.tar", *sample(0))
    imported("img2dataset", tmp_path / "c.lance", path=tmp_path / "out")
    assert fetch(tmp_path / "c.lance").rows == 0
    assert Catalog.open(tmp_path / "c.lance").count("fetch_status = 'ok'") == 1


def test_bad_samples_cost_themselves_and_are_named(tmp_path: Path) -> None:
    bare = [(name, data) for name, data in sample(4) if not name.endswith("json")]
    tar(
        tmp_path / "00000.tar",
        *sample(0),
        ("000000001.json", b"{broken"),
        ("000000001.jpg", picture()),
        *sample(2, license="CC BY 9"),
        *sample(3, Photographer=""),
        *bare,
        ("000000005.jpg", b"no image"),
        ("000000005.json", json.dumps(meta(5)).encode()),
        ("000000006.json", json.dumps(meta(6, url="nowhere")).encode()),
        *sample(7, original_width="wide", original_height=-3),
    )
    rows, report = imported("img2dataset", tmp_path / "c.lance", path=tmp_path / "00000.tar", name="x")
    assert {key: row["fetch_status"] for key, row in rows.items()} == {
        "img2dataset:x/000000000": "ok",
        "img2dataset:x/000000005": "not_an_image",
        "img2dataset:x/000000007": "ok",
    }
    assert (rows["img2dataset:x/000000007"]["original_width"], report.remarks) == (
        24,
        {"kept without image": 1},
    )
    assert sorted(line.split(" (")[0] for line in report.complaints) == [
        "00000.tar sample 000000001: malformed JSON",
        "00000.tar sample 000000002: unknown licence",
        "00000.tar sample 000000003: no creator",
        "00000.tar sample 000000004: no metadata",
        "00000.tar sample 000000005: kept without image",
        "00000.tar sample 000000006: no image",
    ]


def test_rows_of_other_types_or_with_keys_that_lead_elsewhere_cost_themselves(tmp_path: Path) -> None:
    path = tmp_path / "out" / "00000.parquet"
    good, odd = meta(0), meta(1, key="../../secret")
    parquet(path, good, odd, meta(2, key=None))
    (path.with_suffix("")).mkdir()
    (tmp_path / "secret.jpg").write_bytes(picture())
    rows, report = imported("img2dataset", tmp_path / "c.lance", path=path)
    assert list(rows) == ["img2dataset:out/000000000"]
    assert report.skipped == {"no key": 2}


def test_one_licence_and_creator_for_all_where_the_columns_say_nothing(tmp_path: Path) -> None:
    plain = tmp_path / "p" / "00000.parquet"
    plain.parent.mkdir()
    columns = [name for name in SCHEMA.names if name not in ("license", "Photographer")]
    pq.write_table(pa.Table.from_pylist([meta(0)], SCHEMA).select(columns), plain)
    with pytest.raises(
        SourceError, match=r"no column with licences; give one licence for all rows with --license"
    ):
        make_source("img2dataset", options(path=plain))
    with pytest.raises(SourceError, match=r"CC-BY-4\.0 demands attribution; .*--creator"):
        make_source("img2dataset", options(path=plain, license="CC BY 4.0"))
    with pytest.raises(LicenseError, match="--license"):
        make_source("img2dataset", options(path=plain, license="mine"))
    rows, _ = imported("img2dataset", tmp_path / "c.lance", path=plain, license="CC BY 4.0", creator="Bea")
    assert [(row["license"], row["creator"]) for row in rows.values()] == [("CC-BY-4.0", "Bea")]


def test_a_torn_shard_is_one_line_before_anything_is_imported(tmp_path: Path) -> None:
    path = tar(tmp_path / "00000.tar", *sample(0), *sample(1))
    whole = path.read_bytes()
    # Where a killed writer stops: inside a file, or between two, which tarfile takes for the end.
    for size in (len(whole) // 2 + 100, 3 * 1024, 0):
        path.write_bytes(whole[:size])
        with pytest.raises(SourceError, match=r"00000\.tar is not a complete tar archive"):
            make_source("img2dataset", options(path=path))
    damaged = bytearray(whole)
    damaged[whole.index(b"000000001.jpg")] ^= 0xFF
    path.write_bytes(damaged)
    found, report = [], Report()
    with pytest.raises(SourceError, match=r"00000\.tar is damaged after sample 000000000"):
        for row in make_source("img2dataset", options(path=path, license="CC0")).rows(report):
            found.append(row["source_id"])
    assert len(found) <= 1


def test_other_files_and_folders_of_one_name_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"a": [1]}), path)
    with pytest.raises(SourceError, match="is not a file of img2dataset"):
        make_source("img2dataset", options(path=path))
    first = parquet(tmp_path / "a" / "out" / "00000.parquet", meta(0))
    second = parquet(tmp_path / "b" / "out" / "00000.parquet", meta(0))
    with pytest.raises(SourceError, match="two folders with the name out; import them separately"):
        make_source("img2dataset", options(paths=(first, second)))
    rows, _ = imported("img2dataset", tmp_path / "c.lance", path=tmp_path / "a")
    assert list(rows) == ["img2dataset:a/out/000000000"]


def test_a_file_that_is_a_link_out_of_the_folder_is_left_to_fetch(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    parquet(folder / "00000.parquet", meta(1), meta(2))
    (folder / "00000").mkdir()
    (tmp_path / "private.jpg").write_bytes(picture())
    (folder / "own.jpg").write_bytes(picture(seed=2))
    (folder / "00000/000000001.jpg").symlink_to(tmp_path / "private.jpg")
    (folder / "00000/000000002.jpg").symlink_to("../own.jpg")
    rows, report = imported("img2dataset", tmp_path / "c.lance", path=folder)
    assert {id[-1]: row.get("fetch_status") for id, row in rows.items()} == {"1": None, "2": "ok"}
    assert "00000/000000001.jpg is a link out of the folder" in str(report.complaints)


def test_rows_before_a_damaged_place_are_kept(tmp_path: Path) -> None:
    """All but the last one: its json may be what is damaged, and another licence would hold for its picture."""
    path = tar(tmp_path / "00000.tar", *sample(1), *sample(2), *sample(3), *sample(4))
    whole = path.read_bytes()
    at = whole.find(b"000000004.jpg")
    path.write_bytes(whole[:at] + b"\xff" * 512 + whole[at + 512 :])
    with pytest.raises(SourceError, match="damaged after sample 000000003"):
        import_("img2dataset", tmp_path / "c.lance", path)
    assert Catalog.open(tmp_path / "c.lance").count("fetch_status = 'ok'") == 2
