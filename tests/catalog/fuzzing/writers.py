"""Records as files of each form, well made."""

from __future__ import annotations

import csv
import io
import json
import random
import sqlite3
import tarfile
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tests.catalog.fuzzing.records import Record
from tests.catalog.fuzzing.values import PNG, column


def text_of(value: Any) -> str:
    """A value in a file of text, whatever it is."""
    return "" if value is None else str(value).encode("utf-8", "replace").decode()


def as_csv(rows: list[Record], delimiter: str = ",", quoting: Any = csv.QUOTE_MINIMAL) -> bytes:
    file = io.StringIO(newline="")
    writer = csv.writer(file, delimiter=delimiter, quoting=quoting, lineterminator="\r\n")
    writer.writerows([list(rows[0]), *([text_of(value) for value in row.values()] for row in rows)])
    return file.getvalue().encode()


def as_tsv(rows: list[Record]) -> bytes:
    """Without quoting or escapes: a tab or a line end in a value damages its line."""
    lines = ["\t".join(rows[0]), *("\t".join(text_of(value) for value in row.values()) for row in rows)]
    return "\n".join(lines).encode() + b"\n"


def as_lines(rows: list[Record]) -> bytes:
    return "".join(f"{json.dumps(row)}\n" for row in rows).encode()


def as_json(rows: list[Record]) -> bytes:
    return json.dumps(rows, indent=1).encode()


def as_table(rng: random.Random, rows: list[Record]) -> pa.Table:
    names = list(rows[0])
    columns = [column(rng, [row[name] for row in rows]) for name in names]
    if rng.random() < 0.1:  # names that come twice, or are none
        place = rng.randrange(len(names))
        names[place] = rng.choice([*names, names[place].upper(), "", ".", "a.b", "é", "\0", names[0] + ".x"])
    return pa.Table.from_arrays(columns, names=names)


def as_parquet(rng: random.Random, rows: list[Record]) -> bytes:
    out = io.BytesIO()
    table = as_table(rng, rows)
    try:
        how = rng.choice([{}, {"use_dictionary": False}, {"version": "1.0"}, {"row_group_size": 2}])
        pq.write_table(table, out, compression=rng.choice(["none", "snappy", "zstd"]), **how)
    except (pa.ArrowException, OSError):  # a type that Parquet doesn't hold
        pq.write_table(
            pa.table({name: pa.nulls(len(rows), pa.string()) for name in rows[0]}), out := io.BytesIO()
        )
    return out.getvalue()


def as_parquet_of(columns: dict[str, list[Any]], rename: dict[str, str] | None = None) -> bytes:
    out = io.BytesIO()
    names = [(rename or {}).get(name, name) for name in columns]
    pq.write_table(pa.table(columns).rename_columns(names), out)
    return out.getvalue()


def led_astray() -> bytes:
    """A stream whose last string ends far behind it."""
    out = io.BytesIO()
    table = pa.table({"image_url": ["https://x.example/1.jpg"], "license": ["CC0"]})
    with pa.ipc.new_stream(out, table.schema) as stream:
        stream.write_table(table)
    end = (23).to_bytes(4, "little")
    return out.getvalue().replace(end + bytes(4), (1 << 30).to_bytes(4, "little") + bytes(4), 1)


def as_arrow(rng: random.Random, rows: list[Record]) -> bytes:
    out = io.BytesIO()
    table = as_table(rng, rows)
    with pa.ipc.new_stream(out, table.schema) as stream:
        stream.write_table(table, max_chunksize=3)
    return out.getvalue()


def as_sqlite(rows: list[Record]) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.db")
        with sqlite3.connect(path) as connection:
            connection.execute(f"CREATE TABLE photos ({', '.join(rows[0])})")
            for row in rows:
                values = [
                    value
                    if isinstance(value, bytes | float | None)
                    or (isinstance(value, int) and abs(value) < 1 << 63)
                    else text_of(value)
                    for value in row.values()
                ]
                connection.execute(f"INSERT INTO photos VALUES ({', '.join('?' * len(values))})", values)
        connection.close()
        return path.read_bytes()


def as_tar(rng: random.Random, rows: list[Record]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=rng.choice([0, 1, 2])) as archive:
        for row in rows:
            key = (
                rng.choice([row["key"], "0/1", "same", "a.b/c", "x" * 90, "_"])
                if rng.random() < 0.3
                else row["key"]
            )
            for ending, data in (("png", PNG), ("json", json.dumps(row).encode()), ("txt", b"caption \xff")):
                if rng.random() < 0.9:
                    info = tarfile.TarInfo(f"{key}.{ending}")
                    info.size = len(data)
                    if rng.random() < 0.05:
                        info.type, info.linkname = rng.choice([b"1", b"2", b"3", b"5", b"6", b"7", b"S"]), "x"
                    with suppress(ValueError):  # a name that the format doesn't hold
                        archive.addfile(info, io.BytesIO(data))
    return out.getvalue()
