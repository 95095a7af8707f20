"""Decode a whole column of percent- and plus-encoded text at once. Pure."""

from __future__ import annotations

from urllib.parse import unquote_to_bytes

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

_DIGIT = np.full(256, 255, np.uint8)
_DIGIT[np.frombuffer(b"0123456789", np.uint8)] = np.arange(10)
_DIGIT[np.frombuffer(b"abcdef", np.uint8)] = _DIGIT[np.frombuffer(b"ABCDEF", np.uint8)] = np.arange(10, 16)
_PLUS, _PERCENT, _SPACE = b"+% "


def unquote_column(column: pa.BinaryArray) -> pa.StringArray:
    """Decode each value [N] as `urllib.parse.unquote_plus` does; nulls stay null.

    `+` becomes a space, and `%41` the byte 41 (hexadecimal). A `%` without two hexadecimal digits stays. Bytes that
    aren't UTF-8 become U+FFFD.
    """
    array = pa.concat_arrays([column.cast(pa.binary())])  # a copy with offset 0
    offsets = (
        np.frombuffer(array.buffers()[1], np.int32)[: len(array) + 1] if len(array) else np.zeros(1, np.int32)
    )
    data = np.frombuffer(array.buffers()[2] or b"", np.uint8)[: offsets[-1]].copy()
    data[data == _PLUS] = _SPACE
    starts = _escapes(data, offsets)
    if len(starts):
        data[starts] = _DIGIT[data[starts + 1]] * 16 + _DIGIT[data[starts + 2]]
        keep = np.ones(len(data), bool)
        keep[starts + 1] = keep[starts + 2] = False
        kept_before = np.concatenate([[0], np.cumsum(keep, dtype=np.int32)])
        data, offsets = data[keep], kept_before[offsets].astype(np.int32)
    decoded = pa.Array.from_buffers(
        pa.binary(),
        len(array),
        [array.buffers()[0], pa.py_buffer(offsets.tobytes()), pa.py_buffer(data.tobytes())],
        array.null_count,
    )
    try:
        return decoded.cast(pa.string())
    except pa.ArrowInvalid:
        # A value is not UTF-8. This is rare, so decode one by one.
        return pa.array([_one(value) for value in column.to_pylist()], pa.string())


def _escapes(data: NDArray[np.uint8], offsets: NDArray[np.int32]) -> NDArray[np.int64]:
    """Offsets in `data` of escapes that end within their own value."""
    at = np.flatnonzero(data == _PERCENT)
    at = at[at + 2 < len(data)]
    at = at[(_DIGIT[data[at + 1]] < 16) & (_DIGIT[data[at + 2]] < 16)]
    end = offsets[np.searchsorted(offsets, at, side="right")]
    return at[at + 2 < end]


def _one(value: bytes | None) -> str | None:
    if value is None:
        return None
    return unquote_to_bytes(value.replace(b"+", b" ")).decode("utf-8", errors="replace")
