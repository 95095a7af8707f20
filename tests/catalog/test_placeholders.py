"""What a server shows in place of an image that is gone isn't taken for the image."""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path

import pytest

from commoncanvas.catalog import Catalog, FetchOptions, curate, fetch, import_
from commoncanvas.catalog.repeated import MANY, repeated
from commoncanvas.table.schema import to_batch
from tests.catalog.fetching.server import Answer, RawServer, errors, http, image_file, statuses
from tests.catalog.test_openimages import HEADER

SORRY = image_file(width=64)


def picture(number: int) -> bytes:
    return image_file(width=30 + number)


def test_a_listed_size_or_digest_tells_that_another_file_is_there_now(tmp_path: Path) -> None:
    """Each row: what the list states of its own picture, and whether the server still has that one."""
    rows = {
        "same": ("size md5", True, "ok"),
        "gone": ("size md5", False, "changed"),
        "size": ("size", False, "changed"),
        "md5": ("md5", False, "changed"),
        "unknown": ("", False, "ok"),
    }
    pictures = {name: picture(number) for number, name in enumerate(rows)}

    def answer(path: str) -> Answer:
        name = path[1:].removesuffix(".jpg")
        return http(pictures[name] if rows[name][1] else SORRY)

    with RawServer(answer) as server:
        lines = [HEADER]
        for number, (name, (states, _, _)) in enumerate(rows.items()):
            digest = base64.b64encode(hashlib.md5(pictures[name]).digest()).decode()
            lines.append(
                f"{number:016x},train,{server.url}/{name}.jpg,https://www.flickr.com/photos/x/{number},"
                "https://creativecommons.org/licenses/by/2.0/,https://www.flickr.com/people/x/,Ada,Title,"
                f"{len(pictures[name]) if 'size' in states else ''},{digest if 'md5' in states else ''},,"
            )
        (tmp_path / "train.csv").write_text("\n".join(lines))
        import_("openimages", tmp_path / "c.lance", path=tmp_path / "train.csv")
        fetch(tmp_path / "c.lance", FetchOptions(size=16, allow_private=True))
    catalog = Catalog.open(tmp_path / "c.lance")
    assert list(statuses(catalog).values()) == [status for _, _, status in rows.values()]
    said = list(errors(catalog).values())
    assert re.fullmatch(r"[\d,]+ bytes, but the source states [\d,]+", said[2])
    assert re.fullmatch(r"its MD5 is [0-9a-f]{32}, but the source states [0-9a-f]{32}", said[3])


def test_the_second_address_stands_in_for_a_file_that_has_changed(tmp_path: Path) -> None:
    def answer(path: str) -> Answer:
        return http(SORRY if path == "/changed" else picture(1))

    with RawServer(answer) as server:
        stated = {"stated_md5": hashlib.md5(picture(2)).hexdigest()}
        first = {"source": "x", "image_url": f"{server.url}/changed", **stated}
        catalog = Catalog.create(tmp_path / "c.lance")
        from commoncanvas.table.schema import STATED_MD5

        catalog.add_columns([STATED_MD5])
        rows = [
            # The second one may be another size of the same picture: what is stated is of the first.
            {"image_id": "a", "image_url_2": f"{server.url}/second", **first},
            {"image_id": "b", "image_url_2": None, **first},
        ]
        catalog.add([to_batch(rows, [STATED_MD5])])
        fetch(catalog, FetchOptions(size=16, allow_private=True))
    assert statuses(Catalog.open(catalog.uri)) == {"a": "ok", "b": "changed"}


def test_bad_sizes_and_digests_are_told_and_not_checked(tmp_path: Path) -> None:
    line = (
        "{:016x},train,https://h.example/a.jpg,https://h.example/a,https://creativecommons.org/licenses/by/2.0/,"
        "https://www.flickr.com/people/x/,Ada,Title,{},{},,"
    )
    lines = [line.format(1, "-5", "AAAA"), line.format(2, "1e3", "nonsense!"), line.format(3, "", "")]
    (tmp_path / "train.csv").write_text("\n".join([HEADER, *lines]))
    report = import_("openimages", tmp_path / "c.lance", path=tmp_path / "train.csv")
    assert (report.new, report.remarks) == (3, {"kept without size": 2, "kept without MD5": 2})
    catalog = Catalog.open(tmp_path / "c.lance")
    assert catalog.count("stated_bytes IS NULL AND stated_md5 IS NULL") == 3


def test_the_same_file_from_many_addresses_is_warned_of_and_left_out_by_curate(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def answer(path: str) -> Answer:
        return http(picture(int(path.rpartition("/")[2])) if path.startswith("/there") else SORRY)

    with RawServer(answer) as server:
        urls = [f"{server.url}/there/{number}" for number in range(6)]
        urls += [f"{server.url}/gone/{number}" for number in range(MANY)]
        catalog = Catalog.create(tmp_path / "c.lance")
        rows = [{"image_id": url, "source": "x", "image_url": url, "license": "CC0-1.0"} for url in urls]
        # One address in many rows is a list that names an image more than once.
        rows += [{**rows[0], "image_id": f"again{number}"} for number in range(2 * MANY)]
        catalog.add([to_batch(rows)])
        report = fetch(catalog, FetchOptions(size=16, allow_private=True))
    digest = hashlib.sha256(SORRY).hexdigest()
    said = " ".join(capsys.readouterr().err.split())
    assert report.statuses == {"ok": len(rows)}
    assert said.count("addresses gave the same file") == 1
    assert f"{MANY} addresses gave the same file, " in said
    assert f"--where \"sha256 = '{digest}'\"" in said
    assert repeated(Catalog.open(catalog.uri)) == {digest: MANY}

    found = curate(catalog.uri, name="c")
    assert [(step.name, step.noncommercial) for step in found.steps] == [
        ("fetched", 0),
        ("licence", 0),
        ("placeholders", MANY),
    ]
    assert Catalog.open(catalog.uri).count(found.filter) == len(rows) - MANY


def test_fewer_addresses_and_local_files_are_no_placeholders(tmp_path: Path) -> None:
    digest = f"{'a' * 16}{'b' * 48}"
    rows = [
        {
            "image_id": f"{kind}{number}",
            "source": "x",
            "image_url": address,
            "sha256": file,
            "fetch_status": "ok",
        }
        for number in range(3 * MANY)
        for kind, address, file in [
            ("few", f"http://h/{number % (MANY - 1)}", digest),
            ("local", f"/pictures/{number}.jpg", "c" * 64),
            ("many", f"https://h/{number}", f"{'a' * 16}{'d' * 48}"),  # the first half is the other's
            ("failed", f"https://h/{number}", None),
        ]
    ]
    catalog = Catalog.create(tmp_path / "c.lance")
    catalog.add([to_batch(rows)])
    assert repeated(catalog) == {f"{'a' * 16}{'d' * 48}": 3 * MANY}
    assert repeated(Catalog.create(tmp_path / "empty.lance")) == {}
