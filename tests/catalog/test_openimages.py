"""The openimages source: its lists of images become provenance, each bad line costs itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from commoncanvas.catalog import import_
from commoncanvas.core.errors import SourceError
from tests.catalog.imports import imported

HEADER = (
    "ImageID,Subset,OriginalURL,OriginalLandingURL,License,AuthorProfileURL,Author,Title,OriginalSize,OriginalMD5,"
    "Thumbnail300KURL,Rotation"
)
LINE = (
    "000060e3121c7305,train,https://c1.staticflickr.com/5/4129/5215831864_46f356962f_o.jpg,"
    "https://www.flickr.com/photos/brokentaco/5215831864,https://creativecommons.org/licenses/by/2.0/,"
    'https://www.flickr.com/people/brokentaco/,"David","28 Nov 2010 Our new house.",211079,'
    "0Sad+xMj2ttXM1U8meEJ0A==,https://c1.staticflickr.com/5/4129/5215831864_ee4e8c6535_z.jpg,0"
)


def listing(path: Path, *lines: str, header: str = HEADER) -> Path:
    path.write_bytes("\n".join((header, *lines)).encode(errors="surrogateescape"))
    return path


def test_a_listed_image_keeps_its_people(tmp_path: Path) -> None:
    path = listing(tmp_path / "train.csv", LINE)
    rows, report = imported("openimages", tmp_path / "c.lance", path=path)
    assert (report.skipped, report.remarks) == ({}, {})
    assert rows == {
        "openimages:000060e3121c7305": {
            "image_id": "openimages:000060e3121c7305",
            "source": "openimages",
            "source_id": "000060e3121c7305",
            "page_url": "https://www.flickr.com/photos/brokentaco/5215831864",
            "image_url": "https://c1.staticflickr.com/5/4129/5215831864_46f356962f_o.jpg",
            "license": "CC-BY-2.0",
            "license_url": "https://creativecommons.org/licenses/by/2.0/",
            "creator": "David",
            "creator_url": "https://www.flickr.com/people/brokentaco/",
            "title": "28 Nov 2010 Our new house.",
            "stated_bytes": 211079,
            "stated_md5": "d1269dfb1323dadb5733553c99e109d0",
        }
    }


def test_every_bad_line_costs_itself_and_is_named(tmp_path: Path) -> None:
    def line(number: int, text: str = "", by: str = "") -> str:
        return LINE.replace("000060e3121c7305", f"{number:016x}").replace(text, by)

    path = listing(
        tmp_path / "train.csv",
        line(1),
        line(2, "/by/2.0/", "/by/7.0/"),
        line(3, "https://creativecommons.org/licenses/by/2.0/", ""),
        line(4, '"David"', ""),
        line(5, "https://c1.staticflickr.com/5/4129/5215831864_46f356962f_o.jpg", "gone"),
        LINE.replace("000060e3121c7305", "../../x"),
        line(7, ",0Sad", ""),
        line(8, '"David"', '"David'),
        line(9, "David", "Dav\udce9d"),
        line(10, "_z.jpg,0", "_z.jpg,45"),
        line(11, "_z.jpg,0", "_z.jpg,"),
        line(12)[:90],
    )
    rows, report = imported("openimages", tmp_path / "c.lance", path=path)
    assert set(rows) == {f"openimages:{number:016x}" for number in (1, 10, 11)}
    assert [line.split(" (")[0] for line in report.complaints] == [
        "train.csv:3: unknown licence",
        "train.csv:4: no licence",
        "train.csv:5: no creator",
        "train.csv:6: no image address",
        "train.csv:7: no image id",
        "train.csv:8: wrong column count",
        "train.csv:9: malformed row",
        "train.csv:10: bad encoding",
        "train.csv:11: kept without rotation",
        "train.csv:13: wrong column count",
    ]


@pytest.mark.parametrize(
    ("said", "degrees"),
    [("270.0", 270), ("90", 90), ("180", 180), ("0", None), ("0.0", None), ("", None), ("nan", None)],
)
def test_how_a_photo_lies_is_kept(tmp_path: Path, said: str, degrees: int | None) -> None:
    path = listing(tmp_path / "train.csv", LINE[:-1] + said)
    rows, report = imported("openimages", tmp_path / "c.lance", path=path)
    assert [row.get("stated_rotation") for row in rows.values()] == [degrees]
    assert report.remarks == {}


def test_several_files_are_read_and_the_older_form_without_rotation(tmp_path: Path) -> None:
    old = HEADER.removesuffix(",Rotation")
    (tmp_path / "lists").mkdir()
    listing(tmp_path / "lists" / "a.csv", LINE.removesuffix(",0"), header=old)
    listing(tmp_path / "lists" / "b.csv", LINE.replace("7305", "7306"))
    report = import_("openimages", tmp_path / "c.lance", path=tmp_path / "lists")
    assert (report.new, report.skipped) == (2, {})


def test_other_lists_are_one_line(tmp_path: Path) -> None:
    path = listing(tmp_path / "boxes.csv", "1,2,3", header="ImageID,Source,LabelName")
    with pytest.raises(SourceError, match=r"has no column OriginalURL, .* not lists of boxes or labels"):
        import_("openimages", tmp_path / "c.lance", path=path)
    path.write_bytes(b"\xff\xfe\n")
    with pytest.raises(SourceError, match=r"the first line of metadata .* can't be read"):
        import_("openimages", tmp_path / "c.lance", path=path)
