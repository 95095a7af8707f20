"""Rights in many columns: every one is read, two that differ let nothing in, lists and objects are read as well."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from commoncanvas import licenses
from commoncanvas.catalog.importing.sources import Report, SourceOptions, fields
from commoncanvas.catalog.importing.sources.described import DescribedSource
from commoncanvas.catalog.importing.sources.rights import read_license
from commoncanvas.core.errors import SourceError
from commoncanvas.licenses import LICENSES, License
from tests.catalog.imports import imported
from tests.catalog.yfcc import line

CREATED = {"creator": "Jane Doe"}
COLUMNS = sorted(fields.RIGHTS | fields.NOTICES)


class Records(DescribedSource):
    name = "x"

    def rows(self, report: Report) -> Iterator[dict[str, Any]]:
        return iter(())


def read(
    record: dict[str, Any], license: str | None = None, columns: Mapping[str, str] = MappingProxyType({})
) -> tuple[dict[str, Any] | None, Report]:
    report = Report()
    source = Records(SourceOptions(license=license))
    return source.described("1", "here", record, report, columns), report


def license_of(record: dict[str, Any], **said: Any) -> str:
    """The licence that a record is let in under, or why it isn't."""
    row, report = read({**CREATED, **record}, **said)
    assert sum(report.skipped.values()) == (row is None)
    return row["license"] if row else next(iter(report.skipped))


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (("CC BY 4.0", "All rights reserved", ""), "contradictory licences"),
        (("CC0", "CC BY-NC-ND 4.0", ""), "contradictory licences"),
        (("CC BY 4.0", "", "CC BY-NC 4.0"), "contradictory licences"),
        (("", "CC BY 4.0", "CC BY-SA 4.0"), "contradictory licences"),
        (("CC BY", "CC BY 4.0", "CC BY 2.0"), "contradictory licences"),
        (("CC BY 3.0 DE", "CC BY 3.0 FR", ""), "contradictory licences"),
        (("CC BY 4.0", "© 2019 Museum. All rights reserved.", ""), "contradictory licences"),
        (("CC BY 4.0", "http://rightsstatements.org/vocab/InC/1.0/", ""), "contradictory licences"),
        (("CC BY 4.0", "MIT", ""), "contradictory licences"),
        (("CC0", "© 2019 City Museum", ""), "contradictory licences"),
        (("CC BY 4.0", "", ""), "CC-BY-4.0"),
        (("", " ", "CC BY 4.0"), "CC-BY-4.0"),
        (("CC BY", "https://creativecommons.org/licenses/by/4.0/", "Attribution 4.0 International"), "CC-BY-4.0"),
        (("CC BY 4.0", "© 2019 Jane Doe", "see below"), "CC-BY-4.0"),
        (("CC0", "No rights reserved", "n/a"), "CC0-1.0"),
        (("", "", ""), "no licence"),
        (("mine", "", ""), "unknown licence"),
    ],
)  # fmt: skip
def test_each_column_that_speaks_of_rights_is_heard(
    said: tuple[str, ...], expected: str, tmp_path: Path
) -> None:
    record = dict(zip(("license", "rights", "usage_terms"), said, strict=True))
    assert license_of(record) == expected
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    record |= {"file": "a.png", "creator": "Jane Doe"}
    lines = (",".join(record), ",".join(f'"{text}"' for text in record.values()))
    (tmp_path / "metadata.csv").write_text("\n".join(lines))
    rows, report = imported("folder", tmp_path / "c.lance", path=tmp_path)
    assert [row["license"] for row in rows.values()] or list(report.skipped)[:1] == [expected]


@pytest.mark.parametrize("column", COLUMNS)
def test_a_statement_in_any_column_for_rights_stops_the_row(column: str) -> None:
    other = "license" if column != "license" else "rights"
    spelled = "".join(word.capitalize() for word in column.split("_"))
    for withheld in ("All Rights Reserved", "No reuse without permission", "CC BY-NC-ND 4.0", "nur privat"):
        assert license_of({other: "CC BY 4.0", column: withheld}) == "contradictory licences"
        assert license_of({spelled: [withheld], other: "CC BY 4.0"}) == "contradictory licences"
    assert license_of({other: "CC BY 4.0", column: ""}) == "CC-BY-4.0"
    assert license_of({other: "CC BY", column: "CC BY 4.0"}) == "CC-BY-4.0"
    withheld = license_of({column: "No reuse without permission"}, license="CC BY 4.0")
    assert withheld == "unknown licence"


SPELLED = {
    id: [id, license.name, *([license.url] if license.url else [])] for id, license in LICENSES.items()
}
LICENSE = st.sampled_from([license for license in LICENSES.values() if license.known])


@given(st.lists(st.tuples(st.sampled_from(COLUMNS), LICENSE), min_size=2, max_size=4), st.data())
def test_licences_that_differ_let_nothing_in_and_others_the_most_exact(
    said: list[tuple[str, License]], data: st.DataObject
) -> None:
    record = {column: data.draw(st.sampled_from(SPELLED[license.id])) for column, license in said}
    meant = list(dict(said).values())
    terms = {
        (x.reusable, x.commercial, x.derivatives, x.share_alike, x.attribution, x.public_domain)
        for x in meant
    }
    exact = [{getattr(x, field) for x in meant} - {None} for field in ("version", "jurisdiction")]
    agree = len(terms) == 1 and (meant[0].public_domain or all(len(values) <= 1 for values in exact))
    found = license_of(record)
    assert found in [license.id for license in meant] if agree else found == "contradictory licences"


def test_a_version_that_another_field_contradicts_stops_the_row() -> None:
    by_4 = "https://creativecommons.org/licenses/by/4.0/"
    assert license_of({"license": "by", "license_version": "4.0", "license_url": by_4}) == "CC-BY-4.0"
    assert (
        license_of({"license": "by", "license_version": "2.0", "license_url": by_4})
        == "contradictory licences"
    )
    assert license_of({"license": "CC0", "license_version": "1.0", "rights": "Public domain"}) == "CC0-1.0"


def test_a_column_named_by_the_user_does_not_silence_the_others() -> None:
    columns = {"license": "lic", "creator": "who"}
    assert license_of({"lic": "CC BY 4.0", "who": "Ada", "rights": ""}, columns=columns) == "CC-BY-4.0"
    record = {"lic": "CC BY 4.0", "who": "Ada", "rights": "All rights reserved"}
    assert license_of(record, columns=columns) == "contradictory licences"
    row, _ = read({"lic": "CC0", "who": "Ada", "creator": "not she"}, columns=columns)
    assert row is not None and row["creator"] == "Ada"


def test_yfcc_s_address_and_name_of_a_licence_must_agree(tmp_path: Path) -> None:
    contradictory = {"licensename": "Attribution-NonCommercial License"}
    (tmp_path / "dump").write_text(
        line(1) + line(2, licenseurl="http://creativecommons.org/licenses/by/2.0/", **contradictory)
    )
    _, report = imported("yfcc100m", tmp_path / "c.lance", path=tmp_path / "dump")
    assert report.skipped == {"contradictory licences": 1}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (["http://creativecommons.org/publicdomain/mark/1.0/"], "PDM-1.0"),
        (["CC BY 4.0", "https://creativecommons.org/licenses/by/4.0/"], "CC-BY-4.0"),
        (["CC BY 4.0", "CC BY-NC 4.0"], "contradictory licences"),
        ([["CC BY 4.0"]], "CC-BY-4.0"),
        ([], "no licence"),
        ([""], "no licence"),
        ([None], "no licence"),
        ({"@id": "https://creativecommons.org/licenses/by/4.0/", "o:label": "CC BY"}, "CC-BY-4.0"),
        ([{"@value": "All rights reserved"}, "CC BY 4.0"], "contradictory licences"),
        ({"id": "cc-by-4.0"}, "CC-BY-4.0"),
        ({"en": ["CC BY 4.0"]}, "CC-BY-4.0"),
    ],
)
def test_licences_in_lists_and_objects_are_read(value: Any, expected: str) -> None:
    assert license_of({"rights": value}) == expected


def test_lists_of_one_are_read_and_several_names_joined() -> None:
    record = {
        "dc_rights": ["CC BY 4.0"],
        "creator": ["Jane Doe", " ", "Roe, Richard", "Jane Doe"],
        "creator_url": ["https://jane.example"],
        "title": [{"@value": "A view", "@language": "en"}],
        "description": {"de": ["Ein Blick"]},
        "source": ["my camera", "https://jane.example/1"],
        "date": ["1920-05-01"],
        "tags": ["sea", {"@value": "sun"}],
        "caption": ["a view", "another caption"],
    }
    row, report = read(record)
    assert row is not None and report.complaints == []
    assert (row["creator"], row["creator_url"]) == ("Jane Doe; Roe, Richard", "https://jane.example")
    assert (row["title"], row["description"], row["label"]) == ("A view", "Ein Blick", "a view")
    assert (row["page_url"], row["taken_at"].year, row["tags"]) == (
        "https://jane.example/1",
        1920,
        ["sea", "sun"],
    )


JSON = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.floats(), st.text(max_size=8), st.sampled_from(["CC BY 4.0", "CC0"])
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["@value", "name", "en", "x"]), inner, max_size=3),
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from([*COLUMNS, *fields.KNOWN]), JSON, max_size=6))
def test_no_record_is_let_in_without_a_licence_that_it_names(record: dict[str, Any]) -> None:
    row, report = read(record)
    assert (row is None) == (sum(report.skipped.values()) == 1)
    assert row is None or row["license"] in json.dumps(record).replace("CC0", "CC0-1.0").replace(
        "BY 4", "BY-4"
    ).replace("CC BY", "CC-BY")


def test_lists_nested_without_end_are_no_licence() -> None:
    nested: Any = ["CC0"]
    for _ in range(5000):
        nested = [nested]
    assert license_of({"rights": nested, "creator": nested}) == "unknown licence"


# Two columns of one name


@pytest.mark.parametrize(
    "names",
    [
        ("License", "license"),
        ("license", "LICENSE "),
        ("Creator", "creator"),
        ("License URL", "licenseUrl"),
        ("x", "X"),
    ],
)
def test_columns_that_differ_by_case_only_are_an_error_that_names_both(
    names: tuple[str, str], tmp_path: Path
) -> None:
    record = {
        "file": "a.png",
        "key": "1",
        "url": "https://x.example/1.jpg",
        "image_url": "https://x.example/1.jpg",
    }
    record |= {"rights": "CC0", names[0]: "CC0", names[1]: "CC0"}
    csv = tmp_path / "metadata.csv"
    csv.write_text(",".join(record) + "\n")
    table = pa.Table.from_pylist([record])
    for folder in ("folder", "data"):
        (tmp_path / folder).mkdir()
        pq.write_table(table, tmp_path / folder / "metadata.parquet")
    for source, path in (
        ("folder", csv.parent),
        ("folder", tmp_path / "folder"),
        ("huggingface", tmp_path / "data"),
        ("img2dataset", tmp_path / "data"),
    ):
        with pytest.raises(SourceError) as error:
            imported(source, tmp_path / "c.lance", path=path)
        assert repr(names[0]) in str(error.value) and repr(names[1]) in str(error.value)


def test_a_column_may_be_mapped_beside_one_that_has_the_catalog_s_name(tmp_path: Path) -> None:
    record = {
        "image_url": "https://x.example/1.jpg",
        "license": "CC BY",
        "lic": "CC BY 4.0",
        "creator": "",
        "who": "Ada",
    }
    pq.write_table(pa.Table.from_pylist([record]), tmp_path / "a.parquet")
    columns = {"license": "lic", "creator": "who"}
    for source in ("huggingface", "table"):
        rows, _ = imported(source, tmp_path / f"{source}.lance", path=tmp_path / "a.parquet", columns=columns)
        assert [(row["license"], row["creator"]) for row in rows.values()] == [("CC-BY-4.0", "Ada")]


def test_names_that_mean_nothing_here_may_look_alike_to_those_who_read_latin_only(tmp_path: Path) -> None:
    assert fields.clash(["file", "標題", "作者", "Größe", "Grüße", "", " ", ""]) is None
    assert fields.clash(["file", "file"]) == ("file", "file")


def test_a_name_that_comes_twice_in_an_answer_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(
        '{"id": "1", "license": "by-nc", "license": "by", "url": "https://x.example/1"}'
    )
    with pytest.raises(SourceError, match="duplicate name 'license'"):
        imported("openverse", tmp_path / "c.lance", path=tmp_path / "a.json")


def test_fields_of_one_name_in_a_record_cost_the_record(tmp_path: Path) -> None:
    for name in ("a.png", "b.png", "c.png"):
        Image.new("RGB", (8, 8)).save(tmp_path / name)
    (tmp_path / "metadata.jsonl").write_text(
        '{"file": "a.png", "license": "CC BY-NC 4.0", "license": "CC0"}\n'
        '{"file": "b.png", "License": "CC0", "license": ""}\n'
        '{"file": "c.png", "license": "CC0"}\n'
    )
    rows, report = imported("folder", tmp_path / "c.lance", path=tmp_path)
    assert len(rows) == 1
    assert report.complaints[:2] == [
        "metadata.jsonl:1: malformed JSON (duplicate name 'license')",
        "metadata.jsonl:2: duplicate field name ('License' and 'license')",
    ]


@pytest.mark.parametrize(
    "said",
    [
        *(
            "Noncommercial",
            "NoDerivatives",
            "NC",
            "ND",
            "NC-ND",
            "Nichtkommerziell",
            "Educational Purposes",
            "Research",
        ),
        *(
            "Embargoed",
            "Confidential",
            "Proprietary",
            "Unlicensed",
            "ARR",
            "Ask Owner",
            "Wszelkie Prawa Zastrzeżone",
        ),
        *("Research", "Under Copyright", "x" * 3000),
    ],
)
@pytest.mark.parametrize("license", ["CC BY 4.0", "CC0"])
def test_a_restriction_in_capitals_is_nobodys_name(license: str, said: str) -> None:
    report = Report()
    assert read_license("a", {"license": license, "rights": said}, report) is None
    assert report.skipped == {"contradictory licences": 1}


@pytest.mark.parametrize(
    "value",
    [
        {"text": "All rights reserved"},
        {"type": "CC-BY-NC"},
        [{"code": "by-nc"}],
        {"de": "Alle Rechte vorbehalten"},
        b"All rights reserved",
    ],
)
def test_a_value_that_cannot_be_read_is_not_silence(value: Any) -> None:
    report = Report()
    assert read_license("a", {"license": value}, report, default=licenses.parse("CC BY 4.0")) is None
    assert report.skipped == {"unknown licence": 1}


@pytest.mark.parametrize("value", [None, "", "  ", float("nan"), [], [None, ""], {}, {"name": None}, False])
def test_what_is_blank_says_nothing(value: Any) -> None:
    default = licenses.parse("CC BY 4.0")
    assert read_license("a", {"license": value}, Report(), default=default) == default


def test_many_statements_of_one_licence_cost_little() -> None:
    began = time.monotonic()
    assert read_license("a", {"license": ["CC BY 4.0"] * 20_000}, Report())
    assert time.monotonic() - began < 20
