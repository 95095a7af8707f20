"""Every form of every source's input, how many outcomes a file of it has, and one file's way through its source."""

from __future__ import annotations

import bz2
import gzip
import json
import random
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import pyarrow.parquet as pq

from commoncanvas.catalog.importing.sources import Report, SourceOptions, embedded, make_source
from commoncanvas.core.errors import CommonCanvasError
from commoncanvas.readers import delimited
from commoncanvas.readers.archives import samples
from tests.catalog.fuzzing.records import (
    Record,
    commons,
    downloaded,
    museum,
    open_images,
    openverse,
    released,
    rows_of,
    shared,
)
from tests.catalog.fuzzing.writers import (
    as_arrow,
    as_csv,
    as_json,
    as_lines,
    as_parquet,
    as_sqlite,
    as_tar,
    as_tsv,
    text_of,
)
from tests.catalog.imports import InProcess
from tests.catalog.yfcc import fields as photo

# How many outcomes a file has; None where only damage decides


def by_lines(path: Path) -> int:
    return sum(1 for line in path.read_bytes().split(b"\n") if line.strip(b" \t\r\n\xef\xbb\xbf"))


def by_dump_lines(path: Path) -> int:
    data = path.read_bytes()
    return data.count(b"\n") + (not data.endswith(b"\n") and bool(data))


def by_rows(path: Path) -> int:
    form = delimited.form_of(path)
    with delimited._opened(path, form) as file:
        found = list(delimited._lines(file, form))
    # Every line of the file is of one row, or told.
    with delimited._opened(path, form) as file:
        lines = file.read().splitlines(keepends=True) if form.quoted else file.read().split("\n")
    told = sum(len(line.raw) for line in found)
    assert told + form.begin <= len(lines)
    return len(found) - 1


def by_parquet(path: Path) -> int:
    return pq.ParquetFile(path).metadata.num_rows


def by_sqlite(path: Path) -> int | None:
    with closing(sqlite3.connect(path)) as connection:
        try:
            return int(connection.execute("SELECT count(*) FROM photos").fetchone()[0])
        except sqlite3.Error:  # damage has given the table another name
            return None


def by_samples(path: Path) -> int:
    return sum(1 for _ in samples(path, Report()))


def by_items(path: Path) -> int | None:
    try:
        return len(json.loads(path.read_bytes().decode("utf-8-sig")))
    except ValueError:  # several documents, one after the other
        return None


def by_packed_lines(path: Path) -> int:
    data = (gzip if path.suffix == ".gz" else bz2).open(path).read()
    return data.count(b"\n") + (not data.endswith(b"\n") and bool(data))


@dataclass(frozen=True)
class Kind:
    """One form of one source's input."""

    source: str
    file: str
    record: Callable[[int], Record]
    write: Callable[[random.Random, list[Record]], bytes]
    outcomes: Callable[[Path], int | None] = lambda path: None
    pack: Callable[[bytes], bytes] = lambda data: data


def plain(write: Callable[[list[Record]], bytes]) -> Callable[[random.Random, list[Record]], bytes]:
    return lambda rng, rows: write(rows)


def dump(rng: random.Random, rows: list[Record]) -> bytes:
    return b"".join("\t".join(text_of(value) for value in row.values()).encode() + b"\n" for row in rows)


def answers(rng: random.Random, rows: list[Record]) -> bytes:
    return as_lines([{"query": {"pages": [row]}} for row in rows])


KINDS: dict[str, Kind] = {
    "folder, CSV": Kind("folder", "metadata.csv", museum, plain(as_csv), by_rows),
    "folder, semicolons": Kind(
        "folder", "metadata.csv", museum, lambda rng, rows: as_csv(rows, ";"), by_rows
    ),
    "folder, TSV": Kind("folder", "metadata.tsv", museum, plain(as_tsv), by_rows),
    "folder, quoted TSV": Kind(
        "folder", "metadata.tsv", museum, lambda rng, rows: as_csv(rows, "\t", 1), by_rows
    ),
    "folder, JSON lines": Kind("folder", "metadata.jsonl", museum, plain(as_lines), by_lines),
    "folder, Parquet": Kind("folder", "metadata.parquet", museum, as_parquet, by_parquet),
    "folder, sidecar": Kind("folder", "0.png.json", museum, lambda rng, rows: json.dumps(rows[0]).encode()),
    "yfcc100m, dump": Kind("yfcc100m", "dump", lambda n: dict(photo(n)), dump, by_dump_lines),
    "yfcc100m, gzip": Kind(
        "yfcc100m", "dump.gz", lambda n: dict(photo(n)), dump, by_packed_lines, gzip.compress
    ),
    "yfcc100m, bz2": Kind(
        "yfcc100m", "dump.bz2", lambda n: dict(photo(n)), dump, by_packed_lines, bz2.compress
    ),
    "yfcc100m, SQLite": Kind("yfcc100m", "dump.db", lambda n: dict(photo(n)), plain(as_sqlite), by_sqlite),
    "commoncatalog": Kind("commoncatalog", "a.parquet", released, as_parquet, by_parquet),
    "img2dataset, Parquet": Kind("img2dataset", "a.parquet", downloaded, as_parquet, by_parquet),
    "img2dataset, tar": Kind("img2dataset", "a.tar", downloaded, as_tar, by_samples),
    "openverse, JSON": Kind("openverse", "a.json", openverse, plain(as_json), by_items),
    "openverse, JSON lines": Kind("openverse", "a.jsonl", openverse, plain(as_lines), by_lines),
    "openverse, CSV": Kind("openverse", "a.csv", openverse, plain(as_csv), by_rows),
    "openverse, TSV": Kind("openverse", "a.tsv", openverse, plain(as_tsv), by_rows),
    "openverse, Parquet": Kind("openverse", "a.parquet", openverse, as_parquet, by_parquet),
    "wikimedia": Kind("wikimedia", "a.jsonl", commons, answers, by_lines),
    "openimages": Kind("openimages", "a.csv", open_images, plain(as_csv), by_rows),
    "table, CSV": Kind("table", "a.csv", museum, plain(as_csv), by_rows),
    "table, JSON lines": Kind("table", "a.jsonl", museum, plain(as_lines), by_lines),
    "table, Parquet": Kind("table", "a.parquet", museum, as_parquet, by_parquet),
    "huggingface, Parquet": Kind("huggingface", "a.parquet", shared, as_parquet, by_parquet),
    "huggingface, Arrow": Kind("huggingface", "a.arrow", shared, as_arrow),
}


PIECES = [
    *(
        b"\0",
        b"\xff",
        b"\xff\xfe",
        b'"',
        b'""',
        b"\n",
        b"\r",
        b"\r\n",
        b"\t",
        b"\\",
        b"\\N",
        b",",
        b";",
        b"\xef\xbb\xbf",
    ),
    *(
        b"\n\n\n",
        b"\x80" * 20,
        b"[" * 2000,
        b"{" * 50,
        b'"' * 7,
        b"\t" * 30,
        b"\xed\xa0\x80",
        b"\n\xff\tb\n",
        b"\xef\xbb\xbf",
    ),
    *(bytes(512), bytes(1024), b"\x15\xfe\xff\xff\xff\x0f", b"\x7f\xff\xff\xff", b"9" * 5000),
]


def damaged(rng: random.Random, data: bytes) -> bytes:
    """The file with a few bytes changed, put in, taken out or said twice."""
    changed = bytearray(data)
    for _ in range(rng.choice([0, 1, 1, 2, 5, 20])):
        place = rng.randrange(len(changed) + 1)
        match rng.randrange(6):
            case 0:
                changed[place : place + 1] = bytes([rng.randrange(256)])
            case 1 | 2:
                changed[place:place] = rng.choice(PIECES)
            case 3:
                del changed[place : place + rng.choice([1, 2, 10, 100, 1000])]
            case 4:
                changed[place:place] = changed[place : place + rng.choice([1, 20, 300])]
            case 5:
                if rng.random() < 0.2:
                    del changed[place:]
    return bytes(changed)


def run(kind: Kind, folder: Path, data: bytes) -> None:
    """One file through its source: an error of one line, or an outcome a record. Raises anything else."""
    path = folder / kind.file
    path.write_bytes(data)
    given = folder if kind.source == "folder" else path
    report = Report()
    rows = 0
    try:
        with patch.object(embedded, "Decoders", InProcess):
            for batch in make_source(kind.source, SourceOptions(paths=(given,))).batches(report):
                batch.validate(full=True)
                rows += len(batch)
    except CommonCanvasError as error:
        assert str(error).strip(), "an error without a word"
        return
    # A folder's images are told too when no record names them.
    unnamed = report.skipped["no metadata"] if kind.source == "folder" else 0
    told = sum(report.skipped.values()) - unnamed
    named = len(report.complaints)
    assert named == sum(min(10, count) for count in (*report.skipped.values(), *report.remarks.values()))
    expected = kind.outcomes(path)
    assert expected is None or rows + told == expected, f"{rows} rows and {told} told of {expected}"


def attack(name: str, seed: int, folder: Path) -> None:
    """One input of a kind: odd records, and half of the time damaged bytes."""
    rng = random.Random(f"{name} {seed}")
    kind = KINDS[name]
    data = kind.write(rng, rows_of(rng, kind.record))
    if rng.random() < 0.5:
        data = damaged(rng, data)
    data = kind.pack(data)
    if kind.pack(b"") and rng.random() < 0.3:
        data = damaged(rng, data)
    if kind.source == "folder":
        for number in range(3):
            (folder / f"{number}.png").touch()
    run(kind, folder, data)
