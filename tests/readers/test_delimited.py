"""CSV and TSV: their forms are told apart, what is written comes back, and each line that is lost is counted."""

from __future__ import annotations

import csv
import io
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from commoncanvas.catalog.importing.sources import Report
from commoncanvas.core.errors import SourceError
from commoncanvas.readers.delimited import Form, form_of, header, read_rows
from tests.catalog.imports import imported

COPY = {"\\": "\\\\", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v"}
TEXT = st.text(st.characters(codec="utf-8") | st.sampled_from('"\t\n\r,;|\\N. '), max_size=12)
WITHOUT = TEXT.map(lambda text: text.replace("\\", "/"))


def copied(rows: list[list[str | None]]) -> str:
    """As PostgreSQL's COPY ... TO ... WITH (HEADER) writes them."""
    lines = [
        "\t".join("\\N" if cell is None else "".join(COPY.get(c, c) for c in cell) for cell in row)
        for row in rows
    ]
    return "".join(f"{line}\n" for line in lines)


def read(text: str, suffix: str) -> tuple[list[list[str | None]], Report]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"a{suffix}")
        path.write_text(text, encoding="utf-8", newline="")
        report = Report()
        return [list(row.values()) for _, row in read_rows(path, path.name, report)], report


def tables(cells: st.SearchStrategy[Any]) -> st.SearchStrategy[list[list[Any]]]:
    return st.lists(st.lists(cells, min_size=3, max_size=3), min_size=1, max_size=8)


@settings(max_examples=60)
@given(tables(TEXT | st.none()))
def test_what_copy_writes_comes_back(rows: list[list[str | None]]) -> None:
    # A title that begins with a mark and goes on behind the second: no writer who quotes leaves it so.
    rows = [["a", "b", "c"], ['"Sunset" at sea', "x", "\\"], *rows]
    found, report = read(copied(rows), ".tsv")
    # A row of nothing but empty fields has its tabs.
    assert (found, report.skipped) == (rows[1:], {})


@settings(max_examples=60)
@given(
    tables(WITHOUT),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    st.sampled_from(["\n", "\r\n"]),
)
@pytest.mark.parametrize(("suffix", "mark"), [(".tsv", "\t"), (".csv", ","), (".csv", ";"), (".csv", "|")])
def test_what_a_csv_writer_writes_comes_back(
    suffix: str, mark: str, rows: list[list[str]], quoting: Any, end: str
) -> None:
    if end == "\n":  # Python's writer leaves a lone carriage return without marks then
        rows = [[cell.replace("\r", "") for cell in row] for row in rows]
    file = io.StringIO(newline="")
    writer = csv.writer(file, delimiter=mark, quoting=quoting, lineterminator=end)
    # With a field that has to be quoted, so that even a `.tsv` plainly is.
    writer.writerows([["a", "b", "c"], ["x", 'the "old" barn', f"1{mark}2\n3"], *rows])
    found, report = read(file.getvalue(), suffix)
    assert (found[1:], report.skipped) == (rows, {})


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("a\tb\n1\t2\n", Form("\t", quoted=False)),
        ('a\tb\n"Untitled"\t2\n"Sea" and sky\t3\n', Form("\t", quoted=False)),
        ('a\tb\n"Untitled"\t2\nUntitled\t3\n', Form("\t", quoted=False)),
        ('a\tb\n"Sunset\t2\nx\t3\nSunrise"\t4\n', Form("\t", quoted=False)),
        ('a\tb\n5" by 7"\t2\n', Form("\t", quoted=False)),
        ('"a"\t"b"\n"Untitled"\t"2"\n', Form("\t")),
        ('a\tb\n"Untitled"\t2\n"Blue"\t3\n', Form("\t")),
        ('a\tb\n"The ""old"" barn"\t2\n', Form("\t")),
        ('a\tb\n"two\nlines"\t2\n', Form("\t")),
        ('a\tb\n"a\ttab"\t2\nx\ty\n', Form("\t")),
        ("a\tb\n\\N\tone\\ttwo\\\\\n", Form("\t", quoted=False, escaped=True)),
        ("a\tb\nphotos\\1.jpg\tx\nphotos\\new.jpg\ty\n", Form("\t", quoted=False)),
    ],
)
def test_a_tsv_has_no_quoting_unless_it_plainly_has(tmp_path: Path, text: str, form: Form) -> None:
    (tmp_path / "a.tsv").write_text(text, newline="")
    assert form_of(tmp_path / "a.tsv") == form


def test_a_title_that_begins_with_a_mark_costs_no_row_of_openverse_s_table(tmp_path: Path) -> None:
    columns = ["identifier", "url", "license", "license_version", "creator", "title", "description"]
    titles = ['"Sunset', "two", '"Untitled"', '"Sea" and sky', "five\nlines", '6" by 8"', None]
    rows: list[list[str | None]] = [
        [f"id{number}", f"https://x.example/{number}.jpg", "by", "4.0", "Ada\\Bea", title, None]
        for number, title in enumerate(titles)
    ]
    (tmp_path / "image.tsv").write_text(copied([list(columns), *rows]) + "\\.\n", newline="")
    found, report = imported("openverse", tmp_path / "c.lance", path=tmp_path / "image.tsv")
    assert [row.get("title") for row in found.values()] == titles
    assert {row["creator"] for row in found.values()} == {"Ada\\Bea"}
    assert report.skipped == {}


def test_a_stray_mark_costs_its_own_line_and_the_lines_after_it_are_read(tmp_path: Path) -> None:
    lines = ["a,b,c", '1,"open,x', "2,y,x", '3,"so",x', '4,"far"off,x', '5,"two', 'lines",x', '6,"end']
    found, report = read("\n".join(lines), ".csv")
    assert found == [["2", "y", "x"], ["3", "so", "x"], ["5", "two\nlines", "x"]]
    assert sum(report.skipped.values()) == 3
    assert [line.split(" (")[0] for line in report.complaints] == [
        "a.csv:2: malformed row",
        "a.csv:5: malformed row",
        "a.csv:8: malformed row",
    ]


def test_a_line_without_an_end_costs_itself_and_little_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("commoncanvas.readers.delimited.MAX_CHARACTERS", 1000)
    for suffix, mark in ((".csv", ","), (".tsv", "\t")):
        text = f"a{mark}b\n1{mark}{'x' * 5000}\n2{mark}y\n{mark * 3000}\n3{mark}z"
        found, report = read(text, suffix)
        assert (found, report.skipped) == ([["2", "y"], ["3", "z"]], {"malformed row": 2})
        assert [line.split(":")[1] for line in report.complaints] == ["2", "4"]
    # Between marks too: a mark that is open for many lines is none.
    found, report = read("a,b\n" + '1,"open\n' + "2,y\n" * 3000, ".csv")
    assert (len(found), report.skipped) == (3000, {"malformed row": 1})


def test_a_first_line_that_names_no_columns_is_an_error(tmp_path: Path) -> None:
    for text, message in (
        ("", "is empty"),
        ("\n\n", "is empty"),
        ('"a,b\n1,2\n', r"the first line of metadata .* can.t be read"),
    ):
        (tmp_path / "a.csv").write_text(text)
        with pytest.raises(SourceError, match=message):
            header(tmp_path / "a.csv")
