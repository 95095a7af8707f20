"""Odd values, as text and as columns of every type."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from tests.catalog.imports import picture

PNG = picture(format="PNG")

NASTY: list[Any] = [
    *(
        "",
        " ",
        "\0",
        '"',
        '""',
        '"a"b',
        "'",
        "\t",
        "\n",
        "\r\n",
        "\r",
        "\\N",
        "\\",
        "\\.",
        "a\\tb",
        "\ufeff",
        "\u202e",
    ),
    *(
        "é",
        "e\u0301",
        "👩‍🚀",
        "\ud800",
        "\udcff",
        "a" * 300,
        "../" * 50,
        "/etc/passwd",
        "x/" * 2500,
        "=1+1",
        "[/b]",
    ),
    *(
        "http://",
        "//x.example/a",
        "https://x.example/ a",
        "javascript:1",
        "http://[::1",
        "CC BY 4.0",
        "CC0",
        "nan",
    ),
    *(
        "9" * 5000,
        "-1",
        "1e400",
        "0x10",
        "2019-13-45",
        "0001-01-01T00:00:00+14:00",
        "{",
        '{"a":[',
        "null",
        "\x1b[31m",
    ),
    *(None, True, False, 0, -1, 1 << 31, 1 << 62, 1 << 70, 0.5, float("nan"), float("inf"), 1e308),
    *(
        [],
        [None],
        ["a", 1, None, ["b"]],
        {},
        {"bytes": None, "path": "../../etc/passwd"},
        {"a": {"b": []}},
        [[[[]]]],
    ),
]
TYPES: list[pa.DataType] = [
    *(
        pa.string(),
        pa.large_string(),
        pa.binary(),
        pa.int8(),
        pa.int64(),
        pa.uint64(),
        pa.float32(),
        pa.bool_(),
    ),
    *(
        pa.null(),
        pa.list_(pa.string()),
        pa.struct([("bytes", pa.binary()), ("path", pa.string())]),
        pa.date32(),
    ),
    *(pa.timestamp("us"), pa.timestamp("s", "UTC"), pa.decimal128(20, 3), pa.duration("ns"), pa.time64("us")),
    *(pa.dictionary(pa.int32(), pa.string()), pa.map_(pa.string(), pa.string()), pa.string_view()),
]


def value_of(rng: random.Random, kind: pa.DataType) -> Any:
    """Something that a column of `kind` can hold."""
    pool: list[Any] = [None]
    if kind == pa.binary():
        pool += [b"", b"\xff\xfe", PNG, PNG[:40], b"\0" * 100]
    elif pa.types.is_struct(kind):
        pool += [
            {"bytes": rng.choice([None, PNG, b"x"]), "path": rng.choice([None, "../x", "a" * 300, "\0"])}
        ]
    elif pa.types.is_list(kind):
        pool += [[], ["a", None], ["x" * 1000] * 3]
    elif pa.types.is_map(kind):
        pool += [[("a", "b")], []]
    elif pa.types.is_integer(kind):
        pool += [0, 1, 127]
    elif pa.types.is_boolean(kind):
        pool += [True, False]
    elif pa.types.is_floating(kind):
        pool += [0.0, float("nan"), float("-inf"), 1e30]
    elif pa.types.is_temporal(kind) or pa.types.is_decimal(kind):
        raw = pa.array([rng.choice([0, 1, 2**40, -(2**40), 2**62])], pa.int64())
        try:
            return raw.cast(pa.int32()).cast(kind) if kind == pa.date32() else raw.view(kind)
        except (pa.ArrowException, ValueError):
            return None
    else:
        pool += [text for text in NASTY if isinstance(text, str) and text.isprintable()] + ["\0", "\n", "CC0"]
    return rng.choice(pool)


def column(rng: random.Random, usual: Sequence[Any]) -> pa.Array:
    """The usual values of a column, or odd ones of some type."""
    if rng.random() < 0.7:
        texts = [rng.choice([value, value, value, None]) for value in usual]
        try:
            return pa.array(texts)
        except (pa.ArrowException, UnicodeEncodeError, OverflowError):
            return pa.nulls(len(usual), pa.string())
    kind = rng.choice(TYPES)
    values = [value_of(rng, kind) for _ in usual]
    try:
        if any(isinstance(value, pa.Array) for value in values):
            parts = [value if isinstance(value, pa.Array) else pa.nulls(1, kind) for value in values]
            return pa.concat_arrays(parts)
        return pa.array(values, kind)
    except (pa.ArrowException, UnicodeEncodeError, OverflowError):
        return pa.nulls(len(usual), kind)
