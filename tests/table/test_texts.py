"""Which text an image has is one answer, in Arrow, in SQL and of a row."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import lance
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from commoncanvas.table.texts import first_set, first_set_name, first_set_sql, first_text

TEXTS = st.lists(st.tuples(*[st.none() | st.text("ab ", max_size=3)] * 3), min_size=1, max_size=8)


def table_of(rows: Sequence[tuple[str | None, ...]]) -> pa.Table:
    columns = zip(*rows, strict=True)
    return pa.table({name: pa.array(each, pa.string()) for name, each in zip("abc", columns, strict=True)})


@given(rows=TEXTS, order=st.permutations(["a", "b", "c"]), count=st.integers(1, 3))
def test_arrow_takes_what_python_takes(
    rows: list[tuple[str | None, ...]], order: list[str], count: int
) -> None:
    columns = order[:count]
    table = table_of(rows)
    expected = [next((name for name in columns if row[name] is not None), None) for row in table.to_pylist()]
    assert first_set_name(table, columns).to_pylist() == expected
    assert first_set(table, columns).to_pylist() == [
        row[name] if name else None for row, name in zip(table.to_pylist(), expected, strict=True)
    ]
    assert first_set(table, [*columns, "d"]).equals(first_set(table, columns))


@pytest.mark.parametrize("columns", [["a"], ["a", "b"], ["c", "b", "a"]])
def test_sql_takes_what_arrow_takes(columns: list[str], tmp_path: Path) -> None:
    values = [None, "", "x"]
    rows = [(a, b, c) for a in values for b in values for c in values]
    table = pa.table(
        {name: pa.array(each, pa.string()) for name, each in zip("abc", zip(*rows, strict=True), strict=True)}
    )
    dataset = lance.write_dataset(table, str(tmp_path / "t.lance"))
    found = dataset.to_table(columns={"text": first_set_sql(columns)})["text"]
    assert found.to_pylist() == first_set(table, columns).to_pylist()


def test_people_are_shown_the_first_text_that_is_not_blank() -> None:
    assert first_text({"label": " ", "caption": "a deer"}) == "a deer"
    assert first_text({"label": None}) is None
    assert first_text({"title": "b", "label": "a"}, ["title", "label"]) == "b"
