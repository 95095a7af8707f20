"""What strangers wrote can do no harm where it is shown: on a terminal, on a page, in a spreadsheet, in Markdown."""

from __future__ import annotations

import csv
import io
import json
import re
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from commoncanvas.catalog import Catalog, credits
from commoncanvas.cli import main
from commoncanvas.core.console import print_table, progress, say
from commoncanvas.core.text import (
    cell,
    clean,
    escaped_json,
    markdown_cell,
    one_line,
    text_of_cell,
    visible,
    web_address,
)
from commoncanvas.pages.report import environment
from commoncanvas.table.schema import to_batch

OBEYED = (
    [chr(code) for code in (*range(10), *range(11, 32), *range(0x7F, 0xA0), *range(0x202A, 0x202F))]
    + [chr(code) for code in (*range(0x2066, 0x206A), 0x61C, 0x200E, 0x200F, 0x2028, 0x2029, 0xFEFF)]
    + ["\ud800", "\udcff"]
)
"""Marks that a terminal or a page would obey, or that can't be written as UTF-8."""
hostile = st.text(st.sampled_from(OBEYED) | st.sampled_from("ab [/x]=;\n'") | st.characters(), max_size=40)


def harmless(text: str) -> bool:
    return not set(text) & set(OBEYED)


@given(hostile)
def test_no_mark_that_is_obeyed_is_left_by_any_of_the_ways_to_show_text(text: str) -> None:
    shown = [visible(text), one_line(text), clean(text) or "", markdown_cell(text), cell(text) or ""]
    assert all(map(harmless, shown))
    assert not any("\n" in one for one in (shown[1], shown[2], shown[3]))
    address = web_address(f"https://x.example/{text}")
    assert address is None or harmless(address)


@given(hostile)
def test_a_terminal_gets_no_mark_and_no_markup_of_others_and_every_letter(text: str) -> None:
    from rich.text import Text

    screen = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stderr", screen)
        say(text, title=text)
        with progress(text, 1) as bar:
            bar.note(text)
    assert harmless(screen.getvalue()) and len(screen.getvalue().splitlines()) == 2
    letters = re.sub(r"\s", "", one_line(text, None))
    assert re.sub(r"\s", "", screen.getvalue()).startswith(letters * 2)
    table = io.StringIO()
    print_table(Text(text), table)
    assert harmless(table.getvalue())


@given(hostile)
def test_json_for_a_terminal_has_the_same_values(text: str) -> None:
    value = {"text": text.replace("\ud800", "").replace("\udcff", "")}
    written = escaped_json(json.dumps(value, ensure_ascii=False, indent=2))
    assert json.loads(written) == value and harmless(written)


@given(hostile)
def test_a_page_shows_what_is_filled_in_without_marks_that_it_would_obey(text: str) -> None:
    assert harmless(environment().from_string("{{ text }} {{ more[0] }}").render(text=text, more=[text]))


FORMULAS = [
    "=1+1",
    "+1",
    "-1",
    "@SUM(A1)",
    "＝1+1",
    "＋1",
    "－1",
    "＠SUM(A1)",
    "a;=cmd|' /C calc'!A0",
    "a; ＝1",
    "a\n=1",
    " =1",
    "https://x.example/;=1",
]


@pytest.mark.parametrize("text", FORMULAS)
def test_no_cell_begins_a_formula_whatever_separates_cells(text: str) -> None:
    file = io.StringIO()
    csv.writer(file).writerow(["id", cell(text)])
    for separator in ",;":
        cells = [one for row in csv.reader(io.StringIO(file.getvalue()), delimiter=separator) for one in row]
        lines = [line.strip() for one in cells for line in one.splitlines()]
        assert not any(line.startswith(tuple("=+-@＝＋－＠")) for line in lines)
    assert text_of_cell(cell(text) or "") == text


@given(
    st.text(st.sampled_from("=+-@'; \nab＝") | st.characters(), max_size=30).filter(lambda t: visible(t) == t)
)
def test_what_a_cell_was_made_of_can_be_read_again(text: str) -> None:
    assert text_of_cell(cell(text) or "") == (text or None)


def markdown(text: str) -> list[str]:
    """The kinds of what a renderer of Markdown finds in the first cell of a table."""
    table = MarkdownIt("commonmark").enable("table").parse(f"| a |\n|---|\n| {markdown_cell(text)} |")
    (inline,) = [token for token in table if token.type == "inline"][1:]
    return [child.type for child in inline.children or []]


NAMES = [
    "https://evil.example/x",
    "see www.evil.example",
    "me@evil.example",
    "HTTPS://EVIL.example|x",
    "`https://evil.example`",
    "ftp://evil.example",
]


@pytest.mark.parametrize("name", NAMES)
def test_an_address_in_a_name_is_code_which_no_renderer_makes_a_link_of(name: str) -> None:
    assert markdown(name) == ["code_inline"]


@given(st.text(max_size=40) | st.text(st.sampled_from("`|\\ []()<>!*_#&;a@.w:/"), max_size=30))
def test_a_name_is_one_cell_of_text_or_code(name: str) -> None:
    assert set(markdown(name)) <= {"text", "text_special", "code_inline"}
    assert len(markdown_cell(name).splitlines()) <= 1


def test_addresses_of_a_credit_keep_leading_where_they_led() -> None:
    assert web_address(" https://x.example/a\u202egpj\x9b ") == "https://x.example/a%E2%80%AEgpj%C2%9B"
    assert web_address("http://[::1]/x") == "http://[::1]/x"


@pytest.mark.parametrize("format", ["text", "csv", "html", "json"])
def test_credits_of_a_hostile_row_hold_no_mark_that_is_obeyed(tmp_path: Path, format: str) -> None:
    marks = "".join(mark for mark in OBEYED if mark not in "\ud800\udcff\0")
    catalog = Catalog.create(tmp_path / "catalog.lance")
    names = ("image_id", "source", "title", "creator", "license")
    urls = dict.fromkeys(
        ("creator_url", "page_url", "license_url"), f"https://x.example/{''.join(marks.split())}"
    )
    catalog.add([to_batch([dict.fromkeys(names, f"a{marks}b") | urls])])
    credits(catalog, format=format, out=tmp_path / "out")
    with (tmp_path / "out").open(encoding="utf-8", newline="\r\n" if format == "csv" else "") as file:
        written = "".join(line.removesuffix("\r\n") for line in file)
    assert harmless(written) and "https://x.example/%01" in written


@pytest.mark.parametrize(
    "text",
    ["[/x]", "[bold]x[/bold]", "pip install 'commoncanvas[export]'", ":smile:", "\x1b[31mx", "\x9b31m"],
)
def test_an_error_that_quotes_a_stranger_is_one_line_with_all_its_letters(
    text: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["commoncanvas", "catalog", "stats", "--catalog", f"no\n{text}.lance"])
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr().err
    assert ended.value.code == 2 and len(said.splitlines()) == 1
    assert visible(text) in said and harmless(said)


def test_a_page_written_to_a_path_with_brackets_is_told_by_its_path(
    tmp_path: Path, shapes: Catalog, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "a [" / "x].html"
    words = ["commoncanvas", "catalog", "stats", "--catalog", shapes.uri, "--html", str(page)]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code and page.exists()
    assert capsys.readouterr().err == f"page written to {page}\n"
