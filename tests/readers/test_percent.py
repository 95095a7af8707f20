"""A column of percent-encoded text becomes what the standard library makes of each of its values."""

from __future__ import annotations

from urllib.parse import quote_plus, unquote_to_bytes

import pyarrow as pa
from hypothesis import example, given
from hypothesis import strategies as st

from commoncanvas.readers.percent import unquote_column

RAW = st.lists(
    st.none() | st.binary(max_size=12) | st.text("%+4aFgC3é", max_size=8).map(str.encode), max_size=12
)


def one_by_one(value: bytes | None) -> str | None:
    return None if value is None else unquote_to_bytes(value.replace(b"+", b" ")).decode("utf-8", "replace")


@given(RAW)
@example([b"%4", b"1"])  # no escape may reach into the next value
@example([b"%2541", b"%%41", b"%zz", b"%", b"%C3%A9", b"%E9", b"\xff"])
def test_every_value_is_decoded_as_if_it_stood_alone(values: list[bytes | None]) -> None:
    column = pa.array(values, pa.binary())
    assert unquote_column(column).to_pylist() == [one_by_one(value) for value in values]


@given(RAW, st.integers(0, 5))
def test_a_slice_of_a_column_is_decoded_like_a_column(values: list[bytes | None], start: int) -> None:
    column = pa.array(values, pa.binary()).slice(start)
    assert unquote_column(column).to_pylist() == [one_by_one(value) for value in values[start:]]


@given(st.lists(st.text(max_size=20)))
def test_what_was_encoded_comes_back(texts: list[str]) -> None:
    texts = [text.encode("utf-8", "replace").decode() for text in texts]
    column = pa.array([quote_plus(text).encode() for text in texts], pa.binary())
    assert unquote_column(column).to_pylist() == texts
