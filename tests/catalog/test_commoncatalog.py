"""The commoncatalog source: the release's rows with their people, images and captions, and no place but its country."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from commoncanvas.catalog import Catalog, import_
from commoncanvas.catalog.importing.sources import Report, make_source
from commoncanvas.catalog.importing.sources.commoncatalog import CommonCatalog, decoded
from commoncanvas.core.errors import SourceError
from commoncanvas.images.image import decode
from commoncanvas.table.columns import ColumnInfo
from commoncanvas.table.schema import to_batch
from tests.catalog.imports import imported, options, picture, picture_with_place

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
SCHEMA = pa.schema(
    [
        ("jpg", IMAGE),
        *((name, pa.string()) for name in ("blip2_caption", "caption", "licensename", "licenseurl")),
        *((name, pa.int32()) for name in ("width", "height", "original_width", "original_height")),
        ("photoid", pa.int64()),
        ("uid", pa.string()),
        ("unickname", pa.string()),
        ("datetaken", pa.timestamp("us")),
        ("dateuploaded", pa.int64()),
        *((name, pa.string()) for name in ("capturedevice", "title", "usertags", "machinetags")),
        ("longitude", pa.float64()),
        ("latitude", pa.float64()),
        ("accuracy", pa.int64()),
        ("pageurl", pa.string()),
        ("downloadurl", pa.string()),
        ("serverid", pa.int64()),
        ("farmid", pa.int64()),
        *((name, pa.string()) for name in ("secret", "secretoriginal", "ext", "url", "key", "status")),
        *((name, pa.string()) for name in ("error_message", "exif", "sha256", "description")),
    ]
)


def record(photo: int = 42, **said: Any) -> dict[str, Any]:
    return {
        "jpg": {"bytes": picture(seed=photo), "path": None},
        "blip2_caption": "a boat on a lake",
        "caption": "Sunday+at+the+lake",
        "licensename": "Attribution-ShareAlike License",
        "licenseurl": "http://creativecommons.org/licenses/by-sa/2.0/",
        "width": 24,
        "height": 16,
        "original_width": 2400,
        "original_height": 1600,
        "photoid": photo,
        "uid": "12345678%40N00",
        "unickname": "J%C3%BCrgen+Doe",
        "datetaken": datetime(2010, 5, 1, 12, 30),
        "dateuploaded": 1272812400,
        "title": "The+Lake%21",
        "usertags": "lake,blue+boat,caf%C3%A9,lake",
        "longitude": 13.4,
        "latitude": 52.5,
        "pageurl": f"http://www.flickr.com/photos/12345678@N00/{photo}/",
        "downloadurl": f"http://farm1.staticflickr.com/1/{photo}_abc.jpg",
        "key": "000000042",
        "status": "success",
        "exif": '{"GPS GPSLatitude": "[52, 30, 0]"}',
        "description": "A day out, 100% fun.",
        **said,
    }


def release(path: Path, *records: dict[str, Any], schema: pa.Schema = SCHEMA, **options: Any) -> Path:
    pq.write_table(pa.Table.from_pylist(list(records), schema), path, **options)
    return path


def test_a_released_row_keeps_its_people_image_and_caption_and_of_its_place_the_country(
    tmp_path: Path,
) -> None:
    path = release(tmp_path / "part-0.parquet", record())
    rows, report = imported("commoncatalog", tmp_path / "c.lance", path=path)
    assert (report.skipped, report.remarks) == ({}, {})
    row = rows["flickr:42"]
    data = picture(seed=42)
    assert row.pop("image") == data
    assert (row.pop("width"), row.pop("height"), row.pop("fetch_status")) == (24, 16, "ok")
    assert len(row.pop("sha256")) == 64
    assert row.pop("phash") >= 0
    assert row == {
        "image_id": "flickr:42",
        "source": "flickr",
        "source_id": "42",
        "page_url": "http://www.flickr.com/photos/12345678@N00/42/",
        "image_url": "http://farm1.staticflickr.com/1/42_abc.jpg",
        "license": "CC-BY-SA-2.0",
        "license_url": "https://creativecommons.org/licenses/by-sa/2.0/",
        "creator": "Jürgen Doe",
        "creator_url": "https://www.flickr.com/people/12345678@N00/",
        "title": "The Lake!",
        "description": "A day out, 100% fun.",
        "tags": ["lake", "blue boat", "café"],
        "taken_at": datetime(2010, 5, 1, 12, 30, tzinfo=UTC),
        "uploaded_at": datetime(2010, 5, 2, 15, tzinfo=UTC),
        "original_width": 2400,
        "original_height": 1600,
        "blip2_caption": "a boat on a lake",
        "country": "DE",
    }


def test_the_captions_column_says_that_a_model_wrote_it_from_the_image() -> None:
    info = ColumnInfo.of(CommonCatalog.columns[0])
    assert info is not None
    assert "BLIP-2" in info.model
    assert info.sources == (("image", None),)


def test_an_image_with_a_place_in_its_exif_is_stored_upright_and_without_it(tmp_path: Path) -> None:
    data = picture_with_place()
    path = release(tmp_path / "p.parquet", record(jpg={"bytes": data, "path": None}))
    rows, _ = imported("commoncatalog", tmp_path / "c.lance", path=path)
    stored = rows["flickr:42"]["image"]
    assert dict(Image.open(io.BytesIO(data)).getexif())
    assert not Image.open(io.BytesIO(stored)).getexif()
    assert decode(stored).shape == (24, 16, 3)


def test_large_images_come_down_to_the_size_that_fetch_stores(tmp_path: Path) -> None:
    path = release(tmp_path / "p.parquet", record(jpg={"bytes": picture(1500, 1000), "path": None}))
    rows, _ = imported("commoncatalog", tmp_path / "c.lance", path=path)
    assert (rows["flickr:42"]["width"], rows["flickr:42"]["height"]) == (512, 341)
    rows, _ = imported("commoncatalog", tmp_path / "d.lance", path=path, size=64)
    assert decode(rows["flickr:42"]["image"]).shape == (43, 64, 3)
    assert rows["flickr:42"]["original_width"] == 2400


def test_bare_bytes_and_several_paths_are_read_too(tmp_path: Path) -> None:
    bare = SCHEMA.set(0, pa.field("jpg", pa.binary()))
    (tmp_path / "data").mkdir()
    release(tmp_path / "data" / "b.parquet", record(1, jpg=picture()), schema=bare)
    one = release(tmp_path / "a.parquet", record(2))
    rows, _ = imported("commoncatalog", tmp_path / "c.lance", paths=(one, tmp_path / "data"))
    assert {key: row["fetch_status"] for key, row in rows.items()} == {"flickr:1": "ok", "flickr:2": "ok"}


def test_every_bad_row_costs_itself_and_is_named(tmp_path: Path) -> None:
    torn = picture(200, 200)[:-400]
    path = release(
        tmp_path / "part.parquet",
        record(1),
        record(2, licensename="All Rights Reserved?", licenseurl=None),
        record(3, licensename=None, licenseurl=None),
        record(4, unickname=None),
        record(5, photoid=None),
        record(6, licenseurl="http://creativecommons.org/licenses/by-nc/2.0/"),
        record(7, jpg={"bytes": torn, "path": None}),
        record(8, jpg=None),
        record(9, jpg=None, downloadurl=None),
        record(
            10, jpg={"bytes": b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>", "path": None}
        ),
        record(11, pageurl="no address", dateuploaded=-5),
        record(12),
    )
    rows, report = imported("commoncatalog", tmp_path / "c.lance", path=path)
    assert {key: row.get("fetch_status") for key, row in rows.items()} == {
        "flickr:1": "ok",
        "flickr:7": "truncated",
        "flickr:8": None,
        "flickr:10": "unsupported_format",
        "flickr:11": "ok",
        "flickr:12": "ok",
    }
    assert report.skipped == {
        "unknown licence": 1,
        "no licence": 1,
        "no creator": 1,
        "no photo id": 1,
        "contradictory licences": 1,
        "no image": 1,
    }
    assert report.remarks == {"kept without image": 2, "needs fetch": 1, "kept without page_url": 1}
    assert (
        "part.parquet row 2: unknown licence (field licensename: 'All Rights Reserved?')" in report.complaints
    )
    assert "part.parquet row 6: contradictory licences (CC-BY-SA-2.0 and CC-BY-NC-2.0)" in report.complaints


def test_values_that_are_no_text_or_no_date_cost_their_row_only(tmp_path: Path) -> None:
    table = pa.Table.from_pylist([record(number) for number in range(1, 41)], SCHEMA)
    titles = pa.array([b"fine" if number != 20 else b"\xff\xfe" for number in range(1, 41)], pa.binary())
    text = pa.Array.from_buffers(pa.string(), 40, titles.buffers())
    dates = pa.array([0] * 29 + [1 << 62] + [0] * 10, pa.int64()).cast(pa.timestamp("us"))
    table = table.set_column(SCHEMA.get_field_index("title"), "title", text)
    table = table.set_column(SCHEMA.get_field_index("datetaken"), "datetaken", dates)
    pq.write_table(table, tmp_path / "p.parquet")
    rows, report = imported("commoncatalog", tmp_path / "c.lance", path=tmp_path / "p.parquet")
    assert len(rows) == 38
    assert [line.split(" (")[0] for line in report.complaints] == [
        "p.parquet row 20: bad value",
        "p.parquet row 30: bad value",
    ]


def test_what_is_no_release_or_cut_off_is_one_line(tmp_path: Path) -> None:
    path = release(tmp_path / "p.parquet", record())
    whole = path.read_bytes()
    (tmp_path / "cut.parquet").write_bytes(whole[: len(whole) // 2])
    release(tmp_path / "few.parquet", {"photoid": 1}, schema=pa.schema([("photoid", pa.int64())]))
    (tmp_path / "empty").mkdir()
    for bad, message in (
        (None, "needs the PATH"),
        (tmp_path / "nowhere", "neither a file nor a folder"),
        (tmp_path / "empty", "has no file that source commoncatalog reads"),
        (tmp_path / "cut.parquet", "cut.parquet is not a readable Parquet file"),
        (tmp_path / "few.parquet", "has no column jpg, uid, unickname, licensename, licenseurl"),
    ):
        with pytest.raises(SourceError, match=message):
            make_source("commoncatalog", options(path=bad))
    with pytest.raises(SourceError, match="takes no license"):
        make_source("commoncatalog", options(path=path, license="CC0"))


def test_damage_inside_a_file_is_told_after_the_rows_before_it(tmp_path: Path) -> None:
    path = release(
        tmp_path / "p.parquet",
        *(record(number) for number in range(1, 65)),
        row_group_size=32,
        compression="zstd",
    )
    group = pq.ParquetFile(path).metadata.row_group(1).column(0)
    data = bytearray(path.read_bytes())
    for place in range(group.data_page_offset, group.data_page_offset + 400):
        data[place] ^= 0xFF
    path.write_bytes(bytes(data))
    rows, report = [], Report()
    with pytest.raises(SourceError, match=r"p\.parquet can't be read after row (32|48)"):
        for row in make_source("commoncatalog", options(path=path)).rows(report):
            rows.append(row["image_id"])
    assert rows == [f"flickr:{number}" for number in range(1, len(rows) + 1)]


def test_human_text_is_only_what_the_user_says_it_is(tmp_path: Path) -> None:
    path = release(tmp_path / "p.parquet", record())
    rows, _ = imported("commoncatalog", tmp_path / "c.lance", path=path, label_column="caption")
    assert rows["flickr:42"]["label"] == "Sunday at the lake"
    with pytest.raises(SourceError, match=r"blip2_caption can.t be the label column: a model wrote it"):
        make_source("commoncatalog", options(path=path, label_column="blip2_caption"))


@given(st.text(max_size=30))
def test_text_is_decoded_once_and_plain_text_left_alone(text: str) -> None:
    from urllib.parse import quote_plus

    if text.strip():
        assert decoded(quote_plus(text)) == (text.strip() or None)
    spaced = f"{text} x"
    assert decoded(spaced) == spaced.strip()


def test_rows_that_wait_for_their_image_get_it_with_the_caption_and_keep_what_they_know(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    uri = tmp_path / "c.lance"
    waiting = [
        {"image_id": f"flickr:{n}", "source": "flickr", "title": "Its own", "license": "CC-BY-2.0"}
        for n in (1, 2, 3)
    ]
    waiting[1] |= {"fetch_status": "timeout", "fetch_error": "too slow"}
    waiting[2] |= {"fetch_status": "ok", "image": b"fetched before", "width": 3}
    catalog = Catalog.create(uri)
    catalog.add([to_batch(waiting)])
    path = release(tmp_path / "part-0.parquet", *(record(n) for n in (1, 2, 3, 4)))
    report = import_("commoncatalog", uri, path=path)
    assert (report.new, report.present) == (1, 3)
    assert "2 rows" in capsys.readouterr().err
    rows = Catalog.open(uri).table(Catalog.open(uri).schema.names).sort_by("image_id").to_pylist()
    assert [row["image_id"] for row in rows] == [f"flickr:{n}" for n in (1, 2, 3, 4)]
    for row in rows[:2]:
        assert row["image"] == picture(seed=int(row["source_id"] or row["image_id"][7:]))
        assert (row["fetch_status"], row["fetch_error"], row["width"]) == ("ok", None, 24)
        assert (row["title"], row["license"]) == ("Its own", "CC-BY-2.0")
        assert (row["creator"], row["blip2_caption"]) == ("Jürgen Doe", "a boat on a lake")
    assert (rows[2]["image"], rows[2]["width"], rows[2]["blip2_caption"]) == (b"fetched before", 3, None)

    version = Catalog.open(uri).version
    assert import_("commoncatalog", uri, path=path).present == 4
    assert Catalog.open(uri).version == version
