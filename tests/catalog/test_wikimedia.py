"""The wikimedia source: Commons' answers become provenance; the artist is the creator, not the uploader."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commoncanvas.catalog import import_
from commoncanvas.catalog.importing.sources.wikimedia import SITE
from commoncanvas.core.errors import SourceError
from commoncanvas.readers.markup import plain
from tests.catalog.imports import imported

ARTIST = '<a href="//commons.wikimedia.org/wiki/User:Dschwen" title="User:Dschwen">Daniel <i>Schwen</i></a>'


def page(number: int = 83547663, more: dict[str, Any] | None = None, **said: Any) -> dict[str, Any]:
    about = {
        "DateTime": "2019-11-01 00:05:10",
        "ObjectName": "Neighbours&#39; <b>talk</b>",
        "Categories": "Paintings|CC-BY-SA-4.0",
        "ImageDescription": '<div class="description">Two<br>neighbours<script>alert(1)</script> &amp; a dog</div>',
        "DateTimeOriginal": '<time class="dtstart" datetime="2006-07-10">10 July 2006</time>',
        "Credit": '<span class="int-own-work" lang="en">Own work</span>',
        "Artist": ARTIST,
        "LicenseShortName": "CC BY-SA 4.0",
        "UsageTerms": "Creative Commons Attribution-Share Alike 4.0",
        "AttributionRequired": "true",
        "LicenseUrl": "https://creativecommons.org/licenses/by-sa/4.0",
        "Copyrighted": "True",
        "Restrictions": "",
        "License": "cc-by-sa-4.0",
        **(more or {}),
    }
    info = {
        "user": "Mr.Nostalgic",
        "timestamp": "2019-11-01T00:05:10Z",
        "size": 1353326,
        "width": 3746,
        "height": 2400,
        "sha1": "4fdb4d9a1dbf0b9f5ccb4e4f1cf3b3f4b4dd3b63",
        "mime": "image/jpeg",
        "url": f"https://upload.wikimedia.org/wikipedia/commons/a/a2/{number}.jpg",
        "descriptionurl": f"https://commons.wikimedia.org/wiki/File:{number}.jpg",
        "extmetadata": {
            name: {"value": value, "source": "commons-desc-page", "hidden": ""}
            for name, value in about.items()
            if value is not None
        },
        **said.pop("info", {}),
    }
    return {"pageid": number, "ns": 6, "title": f"File:{number}.jpg", "imageinfo": [info], **said}


PUBLIC = {
    "License": "pd",
    "LicenseShortName": "Public domain",
    "LicenseUrl": "",
    "UsageTerms": "Public domain",
}


def answer(*pages: dict[str, Any], version: int = 2) -> dict[str, Any]:
    listed = list(pages) if version == 2 else {str(page.get("pageid", -1)): page for page in pages}
    return {"batchcomplete": True if version == 2 else "", "query": {"pages": listed}}


def save(folder: Path, *answers: Any) -> Path:
    path = folder / "answers.jsonl"
    path.write_text("\n".join(json.dumps(one) for one in answers))
    return path


@pytest.mark.parametrize("version", [1, 2])
def test_both_versions_of_the_format_say_the_same(tmp_path: Path, version: int) -> None:
    path = tmp_path / "answer.json"
    path.write_text(json.dumps(answer(page(), version=version), indent=4))
    rows, report = imported("wikimedia", tmp_path / "c.lance", path=path)
    assert (report.skipped, report.remarks) == ({}, {})
    assert rows == {
        "wikimedia:83547663": {
            "image_id": "wikimedia:83547663",
            "source": "wikimedia",
            "source_id": "83547663",
            "page_url": "https://commons.wikimedia.org/wiki/File:83547663.jpg",
            "image_url": "https://upload.wikimedia.org/wikipedia/commons/a/a2/83547663.jpg",
            "license": "CC-BY-SA-4.0",
            "license_url": "https://creativecommons.org/licenses/by-sa/4.0/",
            "creator": "Daniel Schwen",
            "creator_url": "https://commons.wikimedia.org/wiki/User:Dschwen",
            "title": "Neighbours' talk",
            "description": "Two\nneighbours & a dog",
            "taken_at": datetime(2006, 7, 10, tzinfo=UTC),
            "uploaded_at": datetime(2019, 11, 1, 0, 5, 10, tzinfo=UTC),
            "original_width": 3746,
            "original_height": 2400,
        }
    }


def test_the_uploader_is_never_taken_for_the_creator(tmp_path: Path) -> None:
    path = save(
        tmp_path,
        answer(
            page(1, {"Artist": None}),
            page(2, {"Artist": "<span></span>", **PUBLIC}),
            page(3, {"Artist": None, "Attribution": "Photo: <a href='https://ada.example'>Ada</a>"}),
            page(4, {"Artist": None, "AttributionRequired": "false", **PUBLIC}),
        ),
    )
    rows, report = imported("wikimedia", tmp_path / "c.lance", path=path)
    assert report.skipped == {"no creator": 2}
    assert {key: row.get("creator") for key, row in rows.items()} == {
        "wikimedia:3": "Photo: Ada",
        "wikimedia:4": None,
    }
    assert rows["wikimedia:3"]["creator_url"] == "https://ada.example"
    assert rows["wikimedia:4"]["license"] == "PD"


def test_every_bad_page_costs_itself_and_is_named(tmp_path: Path) -> None:
    path = save(
        tmp_path,
        answer(
            page(1),
            {"ns": 6, "title": "File:Gone.jpg", "missing": True},
            page(2, info={"url": "javascript:alert(1)"}),
            page(3, info={"url": "https://upload.wikimedia.org/wikipedia/en/1/12/Local.png"}),
            {**page(4), "pageid": -1},
            page(5, info={"mime": "application/pdf"}),
            page(
                6, {"License": None, "LicenseShortName": "Fair use", "LicenseUrl": None, "UsageTerms": None}
            ),
            page(7, {"License": "cc-by-nd-4.0"}),
            page(8, info={"extmetadata": []}),
            page(9, info={"timestamp": 12, "width": "wide"}),
            page(10, {"DateTimeOriginal": "around 1920"}),
            page(11, {"ObjectName": "\ud800"}),
        ),
        {"error": {"code": "maxlag", "info": "Waiting for a database server"}},
        {"batchcomplete": True},
        {"query": {"pages": ["text"]}},
        {"query": []},
    )
    with path.open("a") as file:
        file.write('\n{"query": {"pages": [{"pageid"')
    rows, report = imported("wikimedia", tmp_path / "c.lance", path=path)
    assert set(rows) == {"wikimedia:1", "wikimedia:9", "wikimedia:10"}
    assert [line.split(" (")[0] for line in report.complaints] == [
        "answers.jsonl:1 page File:Gone.jpg: no image info",
        "answers.jsonl:1 page File:2.jpg: no image address",
        "answers.jsonl:1 page File:3.jpg: not from Commons",
        "answers.jsonl:1 page File:4.jpg: not from Commons",
        "answers.jsonl:1 page File:5.jpg: not an image",
        "answers.jsonl:1 page File:6.jpg: unknown licence",
        "answers.jsonl:1 page File:7.jpg: contradictory licences",
        "answers.jsonl:1 page File:8.jpg: no licence",
        "answers.jsonl:1 page File:9.jpg: kept without uploaded_at",
        "answers.jsonl:1 page File:10.jpg: kept without taken_at",
        "answers.jsonl:1 page File:11.jpg: bad encoding",
        "answers.jsonl:2: error response",
        "answers.jsonl:3: no pages",
        "answers.jsonl:4 page 1: malformed JSON",
        "answers.jsonl:5: no pages",
        "answers.jsonl:6: malformed JSON",
    ]


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"NonFree": "true"}, "not free"),
        ({"NonFree": True}, "not free"),
        ({"NonFree": 1}, "not free"),
        ({"DeletionReason": "<p>No <b>permission</b>\nsince May</p>"}, "nominated for deletion"),
        ({"DeletionReason": "copyvio", "NonFree": "false"}, "nominated for deletion"),
    ],
)
def test_what_commons_may_not_keep_is_left_out(tmp_path: Path, more: dict[str, Any], reason: str) -> None:
    kept = page(1, {"NonFree": "false", "DeletionReason": ""})
    path = save(tmp_path, answer(page(2, more), kept, page(3, {"NonFree": False, "DeletionReason": " "})))
    rows, report = imported("wikimedia", tmp_path / "c.lance", path=path)
    assert set(rows) == {"wikimedia:1", "wikimedia:3"}
    assert report.skipped == {reason: 1}


def test_text_in_several_languages_is_taken_in_english(tmp_path: Path) -> None:
    several = {"de": "Zwei Nachbarn", "en": "Two neighbours", "_type": "lang"}
    german = {"_type": "lang", "de": "Der See"}
    path = save(tmp_path, answer(page(1, {"ImageDescription": several, "ObjectName": german})))
    rows, _ = imported("wikimedia", tmp_path / "c.lance", path=path)
    assert (rows["wikimedia:1"]["description"], rows["wikimedia:1"]["title"]) == ("Two neighbours", "Der See")


def test_what_is_no_json_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "answer.json").write_text(json.dumps(answer(page()))[:-9])
    with pytest.raises(SourceError, match="is not valid JSON, or is cut off"):
        import_("wikimedia", tmp_path / "c.lance", path=tmp_path / "answer.json")


@pytest.mark.parametrize(
    ("html", "text", "link"),
    [
        (ARTIST, "Daniel Schwen", "https://commons.wikimedia.org/wiki/User:Dschwen"),
        ("Plain &lt;b&gt; text", "Plain <b> text", None),
        ('<a href="javascript:alert(1)">Eve</a>', "Eve", None),
        ('<a href=" JavaScript:alert(1)">Eve</a> <a href="/wiki/User:Eve">me</a>', "Eve me", f"{SITE}wiki/User:Eve"),
        ('<a href="mailto:eve@example.org">Eve</a>', "Eve", None),
        ('<a href="#cite">1</a>', "1", None),
        ('<a href="//commons.wikimedia.org/w/index.php?title=User:X&amp;action=edit&amp;redlink=1">X</a>', "X", None),
        ('Unknown author<span style="display: none;">Unknown author</span>', "Unknown author", None),
        ("<style>p{}</style><p>A</p><p>B</p><script>x", "A\nB", None),
        ("<b>unclosed <i>tags", "unclosed tags", None),
        ('<a href="http://[bad">Z</a>', "Z", None),
        ("<!-- note --> <img src=x onerror=alert(1)>", None, None),
        ("", None, None),
    ],
)  # fmt: skip
def test_html_becomes_what_a_reader_sees(html: str, text: str | None, link: str | None) -> None:
    assert plain(html, SITE) == (text, link)


@given(st.text(alphabet=st.sampled_from("<>/&;#ab\"'= \nscript!-"), max_size=80))
def test_no_html_breaks_its_reader_or_leads_anywhere_but_the_web(html: str) -> None:
    text, link = plain(f'{html}<a href="{html}">', SITE)
    assert text is None or text.strip()
    assert link is None or link.startswith(("http://", "https://"))
