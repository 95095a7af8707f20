"""The openverse source: the API's answers and the catalog's table say the same; what was removed stays out."""

from __future__ import annotations

import csv
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from commoncanvas.catalog import import_
from commoncanvas.catalog.importing.sources import make_source
from commoncanvas.core.errors import SourceError
from tests.catalog.imports import imported, options

ID = "4bc43a04-ef46-4544-a0c1-63c63f56e276"


def result(**said: Any) -> dict[str, Any]:
    return {
        "id": ID,
        "title": "Tree Bark Photo",
        "indexed_on": "2019-08-02T00:29:29Z",
        "foreign_landing_url": "https://stocksnap.io/photo/XNVBVXO3B7",
        "url": "https://cdn.stocksnap.io/img-thumbs/960w/XNVBVXO3B7.jpg",
        "creator": "Tim Sullivan",
        "creator_url": "https://www.stocksnap.io/author/96",
        "license": "by-sa",
        "license_version": "4.0",
        "license_url": "https://creativecommons.org/licenses/by-sa/4.0/",
        "provider": "stocksnap",
        "source": "stocksnap",
        "category": "photograph",
        "filesize": None,
        "filetype": "jpg",
        "tags": [
            {"name": "tree", "accuracy": None, "unstable__provider": "stocksnap"},
            {"name": "bark"},
            {"name": "plant", "accuracy": 0.97, "unstable__provider": "clarifai"},
        ],
        "attribution": '"Tree Bark Photo" by Tim Sullivan is licensed under CC BY-SA 4.0.',
        "height": 640,
        "width": 960,
        **said,
    }


def answer(*results: Any) -> dict[str, Any]:
    return {
        "result_count": len(results),
        "page_count": 1,
        "page_size": 20,
        "page": 1,
        "results": list(results),
    }


EXPECTED = {
    "image_id": f"openverse:{ID}",
    "source": "openverse",
    "source_id": ID,
    "page_url": "https://stocksnap.io/photo/XNVBVXO3B7",
    "image_url": "https://cdn.stocksnap.io/img-thumbs/960w/XNVBVXO3B7.jpg",
    "license": "CC-BY-SA-4.0",
    "license_url": "https://creativecommons.org/licenses/by-sa/4.0/",
    "creator": "Tim Sullivan",
    "creator_url": "https://www.stocksnap.io/author/96",
    "title": "Tree Bark Photo",
    "tags": ["tree", "bark"],
    "original_width": 960,
    "original_height": 640,
}


@pytest.mark.parametrize("form", ["answer", "answers", "lines", "results a line", "one after the other"])
def test_every_form_of_answers_says_the_same(tmp_path: Path, form: str) -> None:
    texts = {
        "answer": ("a.json", json.dumps(answer(result()), indent=2)),
        "answers": ("a.json", json.dumps([answer(), answer(result())])),
        "lines": ("a.jsonl", f"{json.dumps(answer())}\n\n{json.dumps(answer(result()))}\n"),
        "results a line": ("a.ndjson", "\ufeff" + json.dumps(result())),
        "one after the other": ("a.json", f"{json.dumps(answer())}\n{json.dumps(result(), indent=1)}"),
    }
    name, text = texts[form]
    (tmp_path / name).write_text(text, encoding="utf-8")
    rows, report = imported("openverse", tmp_path / "c.lance", path=tmp_path / name)
    assert rows == {f"openverse:{ID}": EXPECTED}
    assert (report.skipped, report.remarks) == ({}, {})


@pytest.mark.parametrize("suffix", ["csv", "tsv", "parquet"])
def test_the_catalog_s_table_says_the_same_and_more(tmp_path: Path, suffix: str) -> None:
    kept = ("title", "foreign_landing_url", "url", "creator", "creator_url", "license", "license_version")
    row: dict[str, Any] = {
        "identifier": ID.upper(),
        "provider": "stocksnap",
        "foreign_identifier": "XNVBVXO3B7",
        **{name: result()[name] for name in kept},
        "width": "960",
        "height": "640",
        "meta_data": json.dumps({"description": "Bark", "date_taken": "2019-08-01T10:00:00Z"}),
        "tags": json.dumps(result()["tags"]),
        "removed_from_source": "f",
    }
    gone = {**row, "identifier": ID.replace("4", "5"), "removed_from_source": "t"}
    new = {**row, "identifier": "\\N", "foreign_identifier": "NEW"}
    path = tmp_path / f"image.{suffix}"
    if suffix == "parquet":
        pq.write_table(pa.Table.from_pylist([row, gone, {**new, "identifier": None}]), path)
    else:
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(row), delimiter="\t" if suffix == "tsv" else ",")
            writer.writeheader()
            writer.writerows([row, gone, new])
    rows, report = imported("openverse", tmp_path / "c.lance", path=path)
    assert set(rows) == {f"openverse:{ID}", "openverse:stocksnap/NEW"}
    taken = datetime(2019, 8, 1, 10, tzinfo=UTC)
    assert rows[f"openverse:{ID}"] == {**EXPECTED, "description": "Bark", "taken_at": taken}
    assert report.skipped == {"removed at its source": 1}


def test_every_bad_result_costs_itself_and_is_named(tmp_path: Path) -> None:
    nested = json.dumps(answer(result(tags=[{"name": "\ud800"}], id="x")))
    lines = [
        json.dumps(answer(result(), "text", result(id=None), result(license="by", id="a"))),
        '{"results": [',
        '["no answer"]',
        json.dumps({"detail": "Request was throttled."}),
        json.dumps(result(url="ftp://x/y.jpg", id="b")),
        json.dumps(result(creator="", id="c")),
        json.dumps(result(license="nd", license_version="9", license_url=None, id="d")),
        json.dumps(result(license=None, license_url=None, id="e")),
        json.dumps(result(license=5, license_url=7, tags=9, width="x", height=1e300, title=["t"], id="f")),
        nested,
        json.dumps(result(tags=None, width=True, height="640", creator_url="@tim", id="g")),
        json.dumps(answer(result(id="last")))[:-20],
    ]
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    rows, report = imported("openverse", tmp_path / "c.lance", path=tmp_path / "a.jsonl")
    assert set(rows) == {f"openverse:{ID}", "openverse:g"}
    assert (rows["openverse:g"]["original_height"], rows["openverse:g"].get("original_width")) == (640, None)
    assert [line.split(" (")[0] for line in report.complaints] == [
        "a.jsonl:1 result 2: malformed JSON",
        "a.jsonl:1 result 3: no id",
        "a.jsonl:1 result 4: contradictory licences",
        "a.jsonl:2: malformed JSON",
        "a.jsonl:3: malformed JSON",
        "a.jsonl:4: no results",
        "a.jsonl:5: no image address",
        "a.jsonl:6: no creator",
        "a.jsonl:7: unknown licence",
        "a.jsonl:8: no licence",
        "a.jsonl:9: unknown licence",
        "a.jsonl:10 result 1: bad encoding",
        "a.jsonl:11: kept without creator_url",
        "a.jsonl:12: malformed JSON",
    ]


def test_the_public_domain_needs_no_creator(tmp_path: Path) -> None:
    mark = result(license="pdm", license_version="1.0", license_url=None, creator=None, id="m")
    zero = result(license="cc0", license_version="1.0", license_url=None, creator=None, id="z")
    (tmp_path / "a.json").write_text(json.dumps(answer(mark, zero)))
    report = import_("openverse", tmp_path / "c.lance", path=tmp_path / "a.json")
    assert (report.new, report.skipped) == (2, {})
    assert import_("openverse", tmp_path / "c.lance", path=tmp_path / "a.json").present == 2


def test_what_is_no_answer_or_table_is_one_line(tmp_path: Path) -> None:
    for name, data, message in (
        ("cut.json", json.dumps(answer(result())).encode()[:-30], "is not valid JSON, or is cut off"),
        ("empty.json", b" \n", "is empty"),
        ("latin.json", b'{"results": "\xe9"}', "not UTF-8 at byte 13"),
        ("deep.json", b"[" * 200_000, "is not valid JSON"),
        ("boxes.csv", b"ImageID,Source\n1,2\n", "is not a table of Openverse"),
        ("no.parquet", b"PAR1", "is not a readable Parquet file"),
        ("a.txt", b"", "source openverse can.t read .*a.txt; its name must end in one of"),
    ):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(SourceError, match=message):
            import_("openverse", tmp_path / "c.lance", path=tmp_path / name)
    with pytest.raises(SourceError, match="takes no creator"):
        make_source("openverse", options(path=tmp_path, creator="me"))
