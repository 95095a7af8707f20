"""The rules that all sources share: which licence a record names, who is credited, that every row fits the table."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from commoncanvas import licenses
from commoncanvas.catalog.importing.sources import Report, fields
from commoncanvas.catalog.importing.sources.base_row import RawFields, base_row
from commoncanvas.catalog.importing.sources.inputs import input_files, whole
from commoncanvas.catalog.importing.sources.rights import read_license
from commoncanvas.table.schema import to_batch
from tests.catalog.imports import options

VALUES = st.one_of(
    st.none(),
    st.text(alphabet=st.characters(), max_size=20),
    st.integers(),
    st.floats(),
    st.booleans(),
    st.datetimes(),
    st.lists(st.text(max_size=5), max_size=3),
    st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=2),
    st.sampled_from(["https://x.example/a", "//x.example/a"]),
    st.sampled_from(["\ud800", "CC BY 4.0", "2019-05-01", "0001-01-01T00:00+23:00"]),
)  # fmt: skip


@given(st.fixed_dictionaries(dict.fromkeys(RawFields.__dataclass_fields__, VALUES)))
def test_no_record_makes_a_row_that_the_table_refuses(said: dict[str, Any]) -> None:
    report = Report()
    row = base_row("x", "1", "here", licenses.parse("CC BY 4.0"), RawFields(**said), report)
    assert (row is None) == (sum(report.skipped.values()) == 1)
    if row is not None:
        assert row["creator"]
        assert len(to_batch([row])) == 1


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (("CC BY", "https://creativecommons.org/licenses/by/4.0/"), "CC-BY-4.0"),
        (("CC BY 3.0", "https://creativecommons.org/licenses/by/3.0/de/"), "CC-BY-3.0-DE"),
        (("see below", "https://creativecommons.org/licenses/by/4.0/"), "CC-BY-4.0"),
        (("Public domain", "https://creativecommons.org/publicdomain/zero/1.0/"), "CC0-1.0"),
        (("CC BY 4.0", "https://example.org/terms"), "CC-BY-4.0"),
        (("CC BY 4.0", "https://creativecommons.org/licenses/by/2.0/"), "contradictory licences"),
        (("CC BY 4.0", "https://creativecommons.org/licenses/by-nc/4.0/"), "contradictory licences"),
        (("CC0", "all rights reserved"), "contradictory licences"),
        (("mine", "https://example.org"), "unknown licence"),
        ((None, ""), "no licence"),
    ],
)
def test_the_most_exact_of_several_licences_counts_and_none_that_another_contradicts(
    said: tuple[str | None, str | None], expected: str
) -> None:
    report = Report()
    found = read_license("here", {"license": said[0], "license_url": said[1]}, report)
    assert sum(report.skipped.values()) == (found is None)
    assert (found.id if found else next(iter(report.skipped))) == expected


@pytest.mark.parametrize(
    ("written", "read"),
    [
        *[(640, 640), ("640", 640), (640.0, 640), (" 7 ", 7)],
        *[(bad, None) for bad in (0, -1, True, 1 << 31, 1.5, "x", "9" * 30, None, "٣", float("nan"))],
    ],
)
def test_sizes_are_whole_numbers_that_fit_the_table(written: Any, read: int | None) -> None:
    assert whole(written) == read
    assert pa.array([whole(written)], pa.int32())[0].as_py() == read


@given(st.one_of(st.integers(), st.floats(), st.text(max_size=15), st.none()))
def test_seconds_since_1970_are_a_date_or_nothing(value: Any) -> None:
    found = fields.since_epoch(value)
    assert found is None or found == datetime.fromtimestamp(int(value), UTC)


def test_files_come_in_a_fixed_order_each_once_and_hidden_ones_stay_out(tmp_path: Path) -> None:
    for name in ("b.csv", "a.csv", "sub/c.CSV", ".cache/d.csv", "e.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = input_files(options(paths=(tmp_path / "b.csv", tmp_path)), "x", (".csv",))
    assert [path.relative_to(tmp_path).as_posix() for path in found] == ["b.csv", "a.csv", "sub/c.CSV"]
