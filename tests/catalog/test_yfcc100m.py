"""YFCC100M's dump, in all its forms, becomes rows that join, credit and keep their place in every complaint."""

from __future__ import annotations

import bz2
import gzip
import sqlite3
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from commoncanvas.catalog import Catalog, ImportReport, import_
from commoncanvas.core.errors import SourceError
from commoncanvas.readers import lines

from .yfcc import fields, line


def imported(tmp_path: Path, text: str | bytes, **options: Any) -> tuple[Catalog, ImportReport]:
    path = tmp_path / "dump.tsv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    report = import_("yfcc100m", tmp_path / "c.lance", path=path, **options)
    return Catalog.open(tmp_path / "c.lance"), report


def rows(catalog: Catalog) -> list[dict[str, Any]]:
    names = [name for name in catalog.schema.names if name != "image"]
    return list(catalog.table(names).sort_by("image_id").to_pylist())


def test_a_line_becomes_a_row_with_everything_that_credit_needs(tmp_path: Path) -> None:
    catalog, report = imported(tmp_path, line(3))
    assert (report.new, report.skipped) == (1, {})
    (row,) = rows(catalog)
    assert {name: value for name, value in row.items() if value is not None} == {
        "image_id": "flickr:10000003",
        "source": "flickr",
        "source_id": "10000003",
        "page_url": "http://www.flickr.com/photos/00000003@N00/10000003/",
        "image_url": "http://farm1.staticflickr.com/2/10000003_0123456789.jpg",
        "image_url_2": "https://multimedia-commons.s3-us-west-2.amazonaws.com/data/images/000/000/"
        "00000000000000000000000000000003.jpg",
        "license": "CC-BY-SA-2.0",
        "license_url": "https://creativecommons.org/licenses/by-sa/2.0/",
        "creator": "Zoë +3",
        "creator_url": "https://www.flickr.com/people/00000003@N00/",
        "title": "Título nº 3: 50% of it, a+b",
        "description": "A morning walk by the river; <b>fog</b>\nand more of it. " * 2
        + "A morning walk by the river; <b>fog</b>\nand more of it.",
        "tags": ["fog", "river bank", "one,two"],
        "camera": "Canon EOS 40D",
        "country": "DE",
        "taken_at": datetime(2010, 5, 23, 16, 29, 58, tzinfo=UTC),
        "uploaded_at": datetime(2010, 5, 24, 11, 29, 58, tzinfo=UTC),
    }


def text_of(numbers: range, older: bool = False) -> bytes:
    return "".join(line(number, older) for number in numbers).encode()


@pytest.mark.parametrize(
    "packed",
    [bytes, gzip.compress, bz2.compress, lambda text: bz2.compress(text[:999]) + bz2.compress(text[999:])],
)
def test_plain_and_compressed_dumps_give_the_same_rows(
    tmp_path: Path, packed: Callable[[bytes], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "BLOCK_BYTES", 2000)  # a few lines
    catalog, report = imported(tmp_path, packed(text_of(range(100))))
    assert report.new == 67  # two of six licences are NoDerivatives
    assert {row["source_id"] for row in rows(catalog)} == {
        str(10_000_000 + number) for number in range(100) if number % 6 not in (2, 5)
    }


def test_the_older_form_and_sqlite_give_the_same_rows_but_for_the_mirror(tmp_path: Path) -> None:
    for name in ("new", "old", "db"):
        (tmp_path / name).mkdir()
    new, _ = imported(tmp_path / "new", text_of(range(40)))
    old, _ = imported(tmp_path / "old", text_of(range(40), older=True))
    with sqlite3.connect(tmp_path / "db" / "dump.tsv") as connection:
        cells = [fields(number) for number in range(40)]
        names = [name for name in cells[0] if name not in ("line", "hash")]
        connection.execute("CREATE TABLE other (x TEXT)")
        kinds = ["INTEGER" if name in ("photoid", "marker", "dateuploaded") else "TEXT" for name in names]
        connection.execute(
            f"CREATE TABLE yfcc ({', '.join(f'{name} {kind}' for name, kind in zip(names, kinds, strict=True))})"
        )
        connection.executemany(
            f"INSERT INTO yfcc VALUES ({', '.join('?' * len(names))})",
            [[row[name] or None for name in names] for row in cells],
        )
    connection.close()
    import_("yfcc100m", tmp_path / "db" / "c.lance", path=tmp_path / "db" / "dump.tsv")
    without = [{**row, "image_url_2": None} for row in rows(new)]
    assert rows(old) == without
    assert rows(Catalog.open(tmp_path / "db" / "c.lance")) == without


def test_a_value_of_sqlite_that_is_too_long_costs_its_row_before_it_is_read(tmp_path: Path) -> None:
    cells = {name: value for name, value in fields(0).items() if name not in ("line", "hash")}
    names = ", ".join(cells)
    with sqlite3.connect(tmp_path / "dump.db") as connection:
        connection.execute(f"CREATE TABLE yfcc ({names})")
        for row_id in (-(1 << 63), 5, 6, 7, (1 << 63) - 1):
            blob = b"x" * (20 << 20) if row_id in (6, 7) else cells["title"]
            values = {**cells, "photoid": 100 + row_id % 97, "title": blob}
            connection.execute(
                f"INSERT INTO yfcc (rowid, {names}) VALUES ({', '.join('?' * (len(values) + 1))})",
                [row_id, *values.values()],
            )
    connection.close()
    tracemalloc.start()
    report = import_("yfcc100m", tmp_path / "c.lance", path=tmp_path / "dump.db")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10 << 20
    assert (report.new, report.skipped) == (3, {"value too long": 2})
    assert report.complaints[0].startswith("dump.db:yfcc:6: value too long (string or blob too big")


def test_what_cannot_be_used_is_named_by_line_and_counted(tmp_path: Path) -> None:
    text = "".join(
        [
            line(0),
            "too\tfew\n",
            "\n",
            line(1, marker="1"),
            line(3, photoid="12x"),
            line(4, licensename="Some licence", licenseurl=""),
            line(6, downloadurl="file:///etc/passwd"),
            line(7).rstrip("\n") + "\tone more\n",
            line(2),
            line(9, unickname="", uid=""),
            line(10, title="%FF%FE%"),
            line(12).rstrip("\n"),
        ]
    )
    catalog, report = imported(tmp_path, text)
    assert [row["source_id"] for row in rows(catalog)] == ["10000000", "10000010", "10000012"]
    assert report.skipped == {
        "wrong number of columns": 2,
        "video": 1,
        "no photo id": 2,
        "unknown licence": 1,
        "no web address": 1,
        "licence not allowed for noncommercial models": 1,
        "no creator": 1,
    }
    said = {complaint.split(" (")[0] for complaint in report.complaints}
    assert said >= {
        "dump.tsv:2: wrong number of columns",
        "dump.tsv:3: no photo id",
        "dump.tsv:4: video",
        "dump.tsv:5: no photo id",
        "dump.tsv:6: unknown licence",
        "dump.tsv:7: no web address",
        "dump.tsv:8: wrong number of columns",
        "dump.tsv:9: licence not allowed for noncommercial models",
        "dump.tsv:10: no creator",
    }
    assert rows(catalog)[1]["title"] == "\ufffd\ufffd%"


def test_a_line_with_other_columns_and_bytes_that_are_no_text_is_counted_as_others_are(
    tmp_path: Path,
) -> None:
    good = line(0).encode()
    text = b"".join(
        [good, b"too\tfew \xff\xfe\n", b"\n", b"\xff" * 9 + b"\t\r\n", line(1).encode(), b"\x80\t\x81"]
    )
    catalog, report = imported(tmp_path, text)
    assert [row["source_id"] for row in rows(catalog)] == ["10000000", "10000001"]
    assert report.skipped == {"wrong number of columns": 3, "no photo id": 1}
    assert sorted(report.complaints) == [
        "dump.tsv:2: wrong number of columns (2 instead of 25)",
        "dump.tsv:3: no photo id (photoid '')",
        "dump.tsv:4: wrong number of columns (2 instead of 25)",
        "dump.tsv:6: wrong number of columns (2 instead of 25)",
    ]


def test_a_policy_leaves_out_what_it_does_not_allow(tmp_path: Path) -> None:
    catalog, report = imported(tmp_path, text_of(range(60)), policy="commercial")
    assert {row["license"] for row in rows(catalog)} == {"CC-BY-2.0", "CC-BY-SA-2.0"}
    assert report.skipped == {"licence not allowed for commercial models": 40}


def test_importing_again_and_from_two_files_adds_each_photo_once(tmp_path: Path) -> None:
    imported(tmp_path, text_of(range(30)))
    (tmp_path / "more.tsv").write_bytes(text_of(range(20, 50)))
    report = import_("yfcc100m", tmp_path / "c.lance", path=[tmp_path / "dump.tsv", tmp_path / "more.tsv"])
    assert report.new == sum(number % 6 not in (2, 5) for number in range(30, 50))
    assert len(rows(Catalog.open(tmp_path / "c.lance"))) == sum(n % 6 not in (2, 5) for n in range(50))


def test_a_line_without_an_end_costs_itself_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "BLOCK_BYTES", 4000)
    catalog, report = imported(tmp_path, line(0) + "x" * 50_000 + "\n" + line(1) + line(2, marker="1"))
    assert [row["source_id"] for row in rows(catalog)] == ["10000000", "10000001"]
    assert report.complaints[0].startswith("dump.tsv:2: line too long")
    assert report.complaints[1].startswith("dump.tsv:4: video")


def test_a_block_in_which_no_line_can_be_read_costs_itself_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "BLOCK_BYTES", 2000)
    catalog, report = imported(tmp_path, text_of(range(6)) + b"bad\n" * 2000 + text_of(range(6, 8)))
    assert [row["source_id"] for row in rows(catalog)] == [str(10_000_000 + n) for n in (0, 1, 3, 4, 6, 7)]
    assert report.skipped["wrong number of columns"] == 2000


def test_a_dump_that_is_cut_off_is_named_and_what_came_before_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "BLOCK_BYTES", 20_000)
    whole = gzip.compress(text_of(range(3000)))
    with pytest.raises(SourceError, match=r"dump\.tsv can't be read after about line \d"):
        imported(tmp_path, whole[: len(whole) * 2 // 3])
    assert Catalog.open(tmp_path / "c.lance").count() > 500


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a\tb\tc\n" * 3, "has 3 tab-separated columns"),
        ("\n\n", "has 1 tab-separated columns"),
        (b"SQLite format 3\0 and no more", "SQLite file"),
    ],
)
def test_a_file_of_another_kind_is_named(tmp_path: Path, text: str | bytes, says: str) -> None:
    with pytest.raises(SourceError, match=says):
        imported(tmp_path, text)


def test_a_missing_dump_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="needs the dump"):
        import_("yfcc100m", tmp_path / "c.lance")
    with pytest.raises(SourceError, match=r"none\.bz2 can't be read"):
        import_("yfcc100m", tmp_path / "c.lance", path=tmp_path / "none.bz2")


@pytest.mark.parametrize("own", ["rowid", "oid", "ROWID", "_rowid_"])
def test_a_column_of_sqlite_may_be_called_as_the_row_number(own: str, tmp_path: Path) -> None:
    cells = {name: value for name, value in fields(0).items() if name not in ("line", "hash")}
    with sqlite3.connect(tmp_path / "dump.db") as connection:
        connection.execute(f"CREATE TABLE yfcc ({own} TEXT, {', '.join(cells)})")
        for photo in range(3):
            values = ["x", *{**cells, "photoid": photo + 1}.values()]
            connection.execute(f"INSERT INTO yfcc VALUES ({', '.join('?' * len(values))})", values)
    connection.close()
    assert import_("yfcc100m", tmp_path / "c.lance", path=tmp_path / "dump.db").new == 3


@pytest.mark.parametrize(
    ("extra", "how"), [("rowid, _rowid_, oid,", ""), ("", "WITHOUT ROWID")], ids=["all taken", "none"]
)
def test_a_table_of_sqlite_without_row_numbers_is_one_line(extra: str, how: str, tmp_path: Path) -> None:
    cells = [name for name in fields(0) if name not in ("line", "hash", "photoid")]
    with sqlite3.connect(tmp_path / "dump.db") as connection:
        connection.execute(f"CREATE TABLE yfcc ({extra} photoid PRIMARY KEY, {', '.join(cells)}) {how}")
    connection.close()
    with pytest.raises(SourceError, match=r"rename one of them|copy it into a table with rowids"):
        import_("yfcc100m", tmp_path / "c.lance", path=tmp_path / "dump.db")
