"""WebDataset shards: whose picture is whose, and archives of every kind, none read wrongly and none in silence."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

from commoncanvas.catalog.importing.sources import Report, embedded, make_source
from commoncanvas.core.errors import SourceError
from commoncanvas.readers.archives import MAX_TEXT_BYTES, samples
from commoncanvas.readers.walk import IMAGE_ENDINGS
from tests.catalog.imports import InProcess, imported, options, picture

File = tuple[str, bytes]


def about(creator: str, **said: Any) -> bytes:
    return json.dumps({"license": "CC BY 4.0", "creator": creator, **said}).encode()


def member(
    name: str, data: bytes = b"", kind: bytes = tarfile.REGTYPE, **more: Any
) -> tuple[tarfile.TarInfo, Any]:
    info = tarfile.TarInfo(name)
    info.size, info.type = len(data), kind
    for key, value in more.items():
        setattr(info, key, value)
    return info, io.BytesIO(data)


def tar(*files: File | tuple[tarfile.TarInfo, Any], format: int = tarfile.GNU_FORMAT, **more: Any) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=format, **more) as archive:
        for file in files:
            archive.addfile(*(file if isinstance(file[0], tarfile.TarInfo) else member(*file)))
    return out.getvalue()


def sparse(name: str, claims: int) -> tuple[tarfile.TarInfo, Any]:
    """A member in GNU's sparse form 1.0 that holds nothing and claims `claims` zeros."""
    data = b"1\n0\n0\n".ljust(512, b"\0")
    pax = {
        "GNU.sparse.major": "1",
        "GNU.sparse.minor": "0",
        "GNU.sparse.name": name,
        "GNU.sparse.realsize": str(claims),
    }
    return member(f"GNUSparseFile.0/{name}", data, pax_headers=pax)


def pair(key: str, creator: str = "Ada", kind: str = "png") -> tuple[File, File]:
    return (f"{key}.{kind}", picture(format="PNG", seed=1)), (f"{key}.json", about(creator))


ADA, BEA = pair("a"), pair("b", "Bea")
LONG = "d" * 90 + "/" + "k" * 150


def zipped() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("a.png", picture(format="PNG"))
        archive.writestr("pad", bytes(2000))
    return out.getvalue() + bytes(1024)


def broken_header() -> bytes:
    data = bytearray(tar(*ADA, *BEA))
    data[data.index(b"b.png")] ^= 0xFF
    return bytes(data)


GOOD: dict[str, tuple[bytes, set[str]]] = {
    "ustar": (tar(*ADA, *BEA, format=tarfile.USTAR_FORMAT), {"a", "b"}),
    "GNU, long names": (tar(*pair(LONG), *BEA), {LONG, "b"}),
    "pax, long and foreign names": (
        tar(*pair(LONG + "é"), *BEA, format=tarfile.PAX_FORMAT),
        {LONG + "é", "b"},
    ),
    "pax with a global header": (
        tar(*ADA, *BEA, format=tarfile.PAX_FORMAT, pax_headers={"comment": "x" * 5000}),
        {"a", "b"},
    ),
    "made in the folder": (
        tar(member("./", kind=tarfile.DIRTYPE), *((f"./{name}", data) for name, data in (*ADA, *BEA))),
        {"a", "b"},
    ),
    "names that lead out": (tar(*pair("../a"), *pair("/b")), {"../a", "/b"}),
    "capital endings": (tar(("a.PNG", ADA[0][1]), ("a.JSON", ADA[1][1])), {"a"}),
    "parts that aren't read": (tar(*ADA, ("a.npy", b"x" * 5000), ("a.seg.png", b"mask")), {"a"}),
}
SOME: dict[str, tuple[bytes, set[str], dict[str, int]]] = {
    "links and devices": (
        tar(
            *ADA,
            member("b.png", kind=tarfile.SYMTYPE, linkname="/etc/passwd"),
            BEA[1],
            member("c.png", kind=tarfile.LNKTYPE, linkname="a.png"),
            member("d.png", kind=tarfile.FIFOTYPE),
        ),
        {"a"},
        {"file left out": 3},
    ),
    "sparse members": (
        tar(*ADA, *(sparse(f"{key}.png", 95_000_000) for key in "cdef"), format=tarfile.PAX_FORMAT),
        {"a"},
        {"file left out": 4},
    ),
    "files of no sample": (
        tar(("README", b"x"), ("._a.png", b"x"), (".hidden", b"x"), *ADA, ("x/.json", b"")),
        {"a"},
        {"file left out": 4},
    ),
    "metadata of many bytes": (
        tar(*ADA, BEA[0], ("b.json", b" " * (MAX_TEXT_BYTES + 1))),
        {"a"},
        {"file left out": 1},
    ),
}
BAD: dict[str, tuple[bytes, str]] = {
    "two archives in one file": (tar(*ADA) + tar(*BEA), "data follow its end mark"),
    "a header that can't be read": (broken_header(), "a file's header can't be read"),
    "cut off": (tar(*ADA)[:-9000], "is not a complete tar archive"),
    "zip": (zipped(), "is damaged after sample none"),
    "empty": (b"", "is not a complete tar archive"),
    "a sparse map without end": (
        tar(*ADA, member("b.png", b"9", pax_headers={"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}),
            format=tarfile.PAX_FORMAT),
        "is damaged after sample a",
    ),
}  # fmt: skip


@pytest.fixture(autouse=True)
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "Decoders", InProcess)


def shard(folder: Path, data: bytes) -> Path:
    path = folder / "out" / "00000.tar"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("kind", GOOD)
def test_archives_that_are_whole_give_every_sample(tmp_path: Path, kind: str) -> None:
    data, keys = GOOD[kind]
    rows, report = imported("img2dataset", tmp_path / "c.lance", path=shard(tmp_path, data), name="x")
    assert {row["source_id"] for row in rows.values()} == {f"x/{key}" for key in keys}
    assert {row["fetch_status"] for row in rows.values()} == {"ok"}
    assert (report.skipped, report.remarks) == ({}, {})


@pytest.mark.parametrize("kind", SOME)
def test_what_is_no_plain_file_is_left_out_and_counted(tmp_path: Path, kind: str) -> None:
    data, keys, remarks = SOME[kind]
    rows, report = imported("img2dataset", tmp_path / "c.lance", path=shard(tmp_path, data), name="x")
    assert {row["source_id"] for row in rows.values()} == {f"x/{key}" for key in keys}
    assert report.remarks == remarks
    # Each sample is a row, or skipped by name.
    found = {sample.key for sample in samples(tmp_path / "out" / "00000.tar", Report())}
    assert len(found) == len(rows) + sum(report.skipped.values())


@pytest.mark.parametrize("kind", BAD)
def test_archives_that_are_damaged_are_one_line(tmp_path: Path, kind: str) -> None:
    data, message = BAD[kind]
    path = shard(tmp_path, data)
    with pytest.raises(SourceError, match=message) as error:
        list(make_source("img2dataset", options(path=path)).batches(Report()))
    assert "\n" not in str(error.value)


def test_packed_archives_in_a_folder_are_said(tmp_path: Path) -> None:
    path = shard(tmp_path, tar(*ADA))
    for name in ("00001.tar.gz", "00002.tgz", "00003.zip"):
        (path.parent / name).write_bytes(b"x")
    _, report = imported("img2dataset", tmp_path / "c.lance", path=path.parent)
    assert report.remarks == {"file ignored": 3}
    with pytest.raises(
        SourceError, match=r"source img2dataset can.t read .*00001.tar.gz; its name must end in one of"
    ):
        make_source("img2dataset", options(path=path.parent / "00001.tar.gz"))


def test_pictures_of_two_folders_are_two_samples(tmp_path: Path) -> None:
    ada, bea = picture(seed=1), picture(seed=2)
    files = (
        ("a/0001.jpg", ada),
        ("a/0001.json", about("Ada")),
        ("b/0001.jpg", bea),
        ("b/0001.json", about("Bea")),
    )
    path = shard(tmp_path, tar(*files, ("a.b/0001.x.jpg", ada), ("a.b/0001.json", about("Cleo"))))
    rows, report = imported("img2dataset", tmp_path / "c.lance", path=path, name="x")
    assert {row["source_id"]: (row["creator"], row["image"]) for row in rows.values()} == {
        "x/a/0001": ("Ada", ada),
        "x/b/0001": ("Bea", bea),
    }
    assert report.skipped == {"no image": 1}


def test_a_part_that_comes_twice_is_an_error_of_its_sample(tmp_path: Path) -> None:
    twice = (ADA[0], ADA[1], ("a.png", picture(format="PNG", seed=9)))
    path = shard(tmp_path, tar(*twice, *BEA, *pair("a")))
    rows, report = imported("img2dataset", tmp_path / "c.lance", path=path, name="x")
    assert [row["source_id"] for row in rows.values()] == ["x/b"]
    assert report.complaints == [
        "00000.tar sample a: duplicate part (a.png occurs twice)",
        "00000.tar sample a: scattered sample (its files don't follow each other in the archive)",
    ]


def test_a_picture_whose_json_comes_later_does_not_get_the_common_licence(tmp_path: Path) -> None:
    path = shard(tmp_path, tar(ADA[0], *BEA, ADA[1]))
    said = {"path": path, "name": "x", "license": "CC0"}
    rows, report = imported("img2dataset", tmp_path / "c.lance", **said)
    assert [row["source_id"] for row in rows.values()] == ["x/b"]
    assert report.skipped == {"scattered sample": 2}


@pytest.mark.parametrize("ending", IMAGE_ENDINGS)
def test_every_ending_of_a_picture_in_a_folder_is_one_in_an_archive(tmp_path: Path, ending: str) -> None:
    path = shard(tmp_path, tar((f"a.{ending}", b"picture"), ADA[1]))
    (sample,) = samples(path, Report())
    assert sample.image == b"picture"


def test_large_pictures_do_not_wait_in_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "WAITING_BYTES", 2500)
    given = []

    def pending() -> Any:
        for number in range(6):
            given.append(number)
            yield f"a:{number}", {"image_id": str(number)}, bytes(1000)

    rows = embedded.with_images(pending(), embedded.Store(), Report())
    next(rows)
    assert given == [0, 1, 2]
    assert [row["image_id"] for row in rows] == ["1", "2", "3", "4", "5"]
