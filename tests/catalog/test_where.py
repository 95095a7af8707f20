"""Conditions put together mean what each means alone, and one that would change the others is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commoncanvas.catalog import Catalog
from commoncanvas.catalog.schema import to_batch
from commoncanvas.catalog.where import all_of, listed, quoted
from commoncanvas.config import DataConfig
from commoncanvas.errors import CatalogError
from commoncanvas.latents.encode import encode
from commoncanvas.training.selecting import select_rows
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
