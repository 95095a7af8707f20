"""Conditions put together mean what each means alone, and one that would change the others is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commoncanvas.catalog import Catalog
from commoncanvas.config import DataConfig
from commoncanvas.core.errors import CatalogError
from commoncanvas.encoding.command import encode
from commoncanvas.selection.select import select_rows
from commoncanvas.table.schema import to_batch
from commoncanvas.table.sql import all_of, listed, quoted
from tests.training.tiny import recipe

ESCAPES = ["1=1) OR (1=1", "1=1) --", "1=1) OR (true /*", "(1=1", "1=1)", "", "  ", "label = 'a' -- no more"]


@pytest.mark.parametrize("escape", ESCAPES)
def test_no_filter_opens_the_way_for_what_the_licence_policy_keeps_out(shapes: Catalog, escape: str) -> None:
    closed = {
        "image_id": "x:1",
        "source": "x",
        "license": "all-rights-reserved",
        "fetch_status": "ok",
        "label": "a",
    }
    shapes.add([to_batch([closed])])
    with pytest.raises(CatalogError, match="condition"):
        select_rows(DataConfig(catalog=shapes.uri, filter=escape), ())
    with pytest.raises(CatalogError, match="condition"):
        encode(recipe("xs-captioner", Path(shapes.uri).parent, "--data.filter", f'"{escape}"'))
    assert len(select_rows(DataConfig(catalog=shapes.uri, filter="1=1 OR label = ') --'"), ()).table) == 24


@given(st.text("()ab", max_size=12))
def test_brackets_must_match(text: str) -> None:
    depths = [text[:end].count("(") - text[:end].count(")") for end in range(len(text) + 1)]
    if text and min(depths) == depths[-1] == 0:
        assert all_of(text, None, "x") == f"({text}) AND (x)"
    else:
        with pytest.raises(CatalogError, match="condition"):
            all_of(text)


@given(st.text(max_size=12))
def test_whatever_stands_in_quotes_is_text(text: str) -> None:
    assert all_of(f"title = {quoted(text)}") == f"(title = {quoted(text)})"
    assert all_of(f"title IN ({listed([text, text])})")


def test_no_condition_is_true() -> None:
    assert all_of() == all_of(None) == "true"


LICENSES = f"license IN ({listed(f'CC-BY-{number}.0' for number in range(1000))})"
TYPOS = {
    "nosuch = 1": "No field named nosuch: ",
    "width = = 1": "(sql parser error: Expected: an expression, found: =): ",
    "width = 'x'": "Received literal Utf8",
    "foo(width) = 1": "Invalid function 'foo'",
    "width": "The filter does not return a boolean: ",
    "image_id LIKE": "(sql parser error: Expected: an expression, found: EOF): ",
    "title = 'a": "(Unterminated string literal at Line: 1",
    "width IN (SELECT 1)": "Expression 'width IN (SELECT 1)' is not supported SQL",
}


@pytest.mark.parametrize("typo", TYPOS)
@pytest.mark.parametrize("beside", [(), (LICENSES,), (LICENSES, "width > 1 OR height > 1")])
def test_the_cause_of_a_typo_comes_first_whatever_stands_beside_it(
    shapes: Catalog, typo: str, beside: tuple[str, ...]
) -> None:
    if typo == "title = 'a" and beside:
        return  # `all_of` refuses it: its quotation mark takes the bracket in
    with pytest.raises(CatalogError) as raised:
        shapes.count(all_of(*beside, typo) if beside else typo)
    said = str(raised.value)
    assert said.startswith(TYPOS[typo])
    assert f"filter {typo!r} is not valid" in said
    assert len(said) < 1000
    assert "CC-BY" not in said


def test_a_long_condition_at_fault_is_shortened(shapes: Catalog) -> None:
    with pytest.raises(CatalogError) as raised:
        shapes.count(f"{LICENSES} AND nosuch = 1")
    assert str(raised.value).startswith("No field named nosuch: filter ")
    assert "nosuch = 1" in str(raised.value)
    assert len(str(raised.value)) < 1000


PANICS = ["$$a$$ = license", "license = $1", "license = $a$x$a$", "license = :x", "license = ?", "$"]
PANICS += ["N'a' = license", "b'a' = license", "R'a'=license", "(width) = $$1$$"]


@pytest.mark.parametrize("filter", PANICS)
def test_what_lance_panics_at_is_one_line_and_no_panic(
    shapes: Catalog, filter: str, capfd: pytest.CaptureFixture[str]
) -> None:
    for call in (
        shapes.count,
        lambda filter: shapes.table(["image_id"], filter),
        lambda filter: [*shapes.scan(["width"], filter)],
    ):
        with pytest.raises(CatalogError, match="is not supported; write texts as"):
            call(filter)
    assert "panicked" not in capfd.readouterr().err


def test_what_stands_in_quotes_or_is_a_cast_is_no_placeholder(shapes: Catalog) -> None:
    for filter in [
        "title = '$1 ? :x'",
        "width::bigint = 1",
        "title = 'b' OR title = 'n''b'",
        "\"title\" = '?'",
    ]:
        assert shapes.count(filter) == 0


def test_a_panic_that_nobody_thought_of_is_one_line_too(
    shapes: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("commoncanvas.table.lance_errors.check_literals", lambda filter: None)
    with pytest.raises(
        CatalogError, match=r"Lance can't read it \(not yet implemented\): filter .* is not valid"
    ):
        shapes.count("license = $1")
