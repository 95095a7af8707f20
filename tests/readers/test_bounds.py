"""Small files that stand for much memory are refused, or read little by little; files of use are not refused."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from commoncanvas.catalog.importing.sources import Report, RowSource, base_row, make_source, source
from commoncanvas.catalog.importing.sources.documents import documents
from commoncanvas.catalog.importing.sources.records import MAX_MEMORY, json_memory, parse_json
from commoncanvas.core.errors import SourceError
from commoncanvas.readers import memory_bounds
from commoncanvas.readers.memory_bounds import rows_at_once
from commoncanvas.readers.tables import parquet_rows, stream_rows
from commoncanvas.table.schema import SCHEMA
from tests.catalog.imports import options


def write(path: Path, table: pa.Table, **how: Any) -> Path:
    pq.write_table(table, path, compression="zstd", **how)
    return path


def peak(work: Any) -> int:
    """Bytes that Arrow's pool holds at most while the rows go by."""
    pool, most = pa.default_memory_pool(), 0
    before = pool.bytes_allocated()
    for _ in work:
        most = max(most, pool.bytes_allocated() - before)
    return most


def test_a_long_value_in_every_row_is_read_a_few_rows_at_a_time(tmp_path: Path) -> None:
    rows = 2000
    title = pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), ["x" * 2_000_000])
    table = pa.table({"license": ["CC0"] * rows, "title": title})
    path = write(tmp_path / "a.parquet", table, dictionary_pagesize_limit=1 << 30, store_schema=False)
    assert path.stat().st_size < 5000
    report = Report()
    found = parquet_rows(path, report)
    assert peak(next(found) for _ in range(50)) < 100 << 20
    assert rows_at_once(path, None) == 33


def test_pages_and_dictionaries_that_take_too_much_are_refused_unread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory_bounds, "MAX_PAGE", 1 << 20)
    size = memory_bounds.MAX_PAGE + 1000
    for name, table, how in (
        ("page", pa.table({"title": ["x" * size]}), {"use_dictionary": False}),
        ("dictionary", pa.table({"title": ["x" * size] * 3}), {"dictionary_pagesize_limit": 1 << 30}),
    ):
        path = write(tmp_path / f"{name}.parquet", table, **how)
        assert path.stat().st_size < 50_000
        with pytest.raises(SourceError, match=r"column title would need 1,049,\d\d\d bytes of memory"):
            next(parquet_rows(path, Report()))


@pytest.mark.parametrize("place", [0, 1, 5])
def test_every_page_counts_wherever_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: int
) -> None:
    monkeypatch.setattr(memory_bounds, "MAX_PAGE", 100_000)
    titles = ["a", "b", "c", "d", "e", "f"]
    titles[place] = "x" * 200_000
    how = {"use_dictionary": False, "data_page_size": 1, "write_batch_size": 1}
    path = write(tmp_path / "a.parquet", pa.table({"title": titles}), **how)
    with pytest.raises(SourceError, match="column title would need 200,"):
        rows_at_once(path, None)


def test_what_a_footer_says_of_rows_is_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = pa.table({"title": ["x" * 1_000_000] * 20})
    path = write(tmp_path / "a.parquet", table, use_dictionary=False)
    assert rows_at_once(path, None) == 67
    (group,) = memory_bounds.row_groups(path)
    monkeypatch.setattr(memory_bounds, "row_groups", lambda path: [replace(group, rows=10**9)])
    assert rows_at_once(path, None) == 67


def test_the_pages_of_all_columns_are_added_up(tmp_path: Path) -> None:
    """Each would be allowed alone; the reader holds one of each."""
    columns = {f"title_{number}": ["x" * 90_000_000] for number in range(3)}
    path = write(tmp_path / "a.parquet", pa.table(columns), use_dictionary=False)
    assert path.stat().st_size < 100_000
    with pytest.raises(
        SourceError, match=r"pages of its columns would need 270,\d\d\d,\d\d\d bytes of memory"
    ):
        next(parquet_rows(path, Report()))
    assert next(parquet_rows(path, Report(), ["title_1"]))


def test_a_value_that_repeats_most_of_the_last_one_counts_whole(tmp_path: Path) -> None:
    table = pa.table({"title": [f"{'x' * 1_000_000}{number:05}" for number in range(500)]})
    how = {"use_dictionary": False, "column_encoding": {"title": "DELTA_BYTE_ARRAY"}}
    path = write(tmp_path / "a.parquet", table, **how)
    assert path.stat().st_size < 100_000
    found = parquet_rows(path, Report())
    assert peak(next(found) for _ in range(200)) < 200 << 20


def test_a_list_of_more_values_than_its_bytes_can_say_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory_bounds, "MAX_LIST", 100_000)
    one = pa.ListArray.from_arrays([0, 1_000_000], pa.array(["cat"] * 1_000_000))
    path = write(tmp_path / "a.parquet", pa.table({"tags": one}))
    assert path.stat().st_size < 5000
    with pytest.raises(SourceError, match=r"lists in column tags.list.element would need"):
        next(parquet_rows(path, Report()))
    honest = pa.table({"tags": [[f"{number}" for number in range(30)]] * 10_000})
    assert sum(1 for _ in parquet_rows(write(tmp_path / "b.parquet", honest), Report())) == 10_000


@pytest.mark.parametrize("compression", ["none", "zstd", "snappy"])
def test_a_footer_is_read_as_pyarrow_reads_it(tmp_path: Path, compression: str) -> None:
    table = pa.table(
        {
            "title": ["x" * 3000, None, "y"] * 50,
            "tags": [["a", "b"], [], None] * 50,
            "image": [{"bytes": b"z" * 100, "path": None}] * 150,
            "there": [True, False, None] * 50,
            "size": pa.array(range(150), pa.int16()),
        },
        metadata={"": "\xff" * 200},
    )
    path = tmp_path / "a.parquet"
    pq.write_table(table, path, compression=compression, row_group_size=70, store_decimal_as_integer=True)
    metadata = pq.ParquetFile(path).metadata
    groups = memory_bounds.row_groups(path)
    assert [group.rows for group in groups] == [70, 70, 10]
    for index, group in enumerate(groups):
        theirs = [metadata.row_group(index).column(column) for column in range(metadata.num_columns)]
        assert list(group.chunks) == [
            memory_bounds.Chunk(
                each.path_in_schema,
                each.total_compressed_size,
                tuple(place for place in (each.dictionary_page_offset, each.data_page_offset) if place),
            )
            for each in theirs
        ]


DAMAGED = """
import sys
from pathlib import Path
from commoncanvas.catalog.importing.sources import Report
from commoncanvas.readers.tables import parquet_rows
from commoncanvas.core.errors import SourceError

path = Path(sys.argv[1])
whole = path.read_bytes()
start = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")
refused = 0
for place in range(start, len(whole)):
    for bits in (1, 2, 64):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ bits]) + whole[place + 1:])
        try:
            list(parquet_rows(path, Report()))
        except SourceError:
            refused += 1
print(refused)
"""


def test_no_bit_of_a_footer_ends_the_process(tmp_path: Path) -> None:
    """pyarrow's metadata objects do so where a footer contradicts itself; its reader raises an error."""
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"tags": [["a", "b"], [], None]}), path, store_schema=False)
    done = subprocess.run([sys.executable, "-c", DAMAGED, str(path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 100


@pytest.mark.parametrize("packing", [None, "zstd", "lz4"])
def test_a_stream_whose_buffers_are_packed_is_refused_unread(tmp_path: Path, packing: str | None) -> None:
    title = pa.array(["x" * 30_000_000])
    table = pa.table({"title": title, "kind": pa.array(["y" * 1_000_000]).dictionary_encode()})
    path = tmp_path / "a.arrow"
    how = pa.ipc.IpcWriteOptions(compression=packing)
    with pa.OSFile(str(path), "wb") as out, pa.ipc.new_stream(out, table.schema, options=how) as stream:
        stream.write_table(table)
    del table, title
    if packing is None:
        assert [len(row["title"]) for _, row in stream_rows(path, Report())] == [30_000_000]
        return
    before = pa.total_allocated_bytes()
    with pytest.raises(SourceError, match="has compressed buffers"):
        next(stream_rows(path, Report()))
    assert pa.total_allocated_bytes() - before < 1_000_000


def test_files_as_people_have_them_are_read_at_full_speed(tmp_path: Path) -> None:
    rows = 50_000
    table = pa.table(
        {
            "url": [f"https://x.example/{number}.jpg" for number in range(rows)],
            "license": ["CC0"] * rows,
            "tags": [["a", "b"]] * rows,
            "image": [{"bytes": b"x" * 100, "path": None}] * rows,
        }
    )
    path = write(tmp_path / "a.parquet", table)
    assert rows_at_once(path, None) > 40
    assert sum(1 for _ in parquet_rows(path, Report(), ["url", "license"])) == rows


def test_json_that_would_fill_the_memory_costs_its_line_or_its_file(tmp_path: Path) -> None:
    data = b"[" + b"{}," * 2_400_000 + b"{}]"
    assert json_memory(data) > MAX_MEMORY
    report = Report()
    assert parse_json("a:1", data, report) is None
    assert report.skipped == {"JSON too large": 1}
    (tmp_path / "a.json").write_bytes(data)
    with pytest.raises(SourceError, match=r"is too large for one JSON document; save it as \.jsonl"):
        list(documents(tmp_path / "a.json", report))
    usual = json.dumps([{"id": number, "title": f"A title of some words {number}"} for number in range(1000)])
    assert json_memory(usual.encode()) < 16 * len(usual)


def test_batches_end_where_their_rows_hold_much(monkeypatch: pytest.MonkeyPatch) -> None:
    class Large(RowSource):
        name = "large"

        def rows(self, report: Report) -> Any:
            for number in range(10):
                yield {
                    "image_id": f"large:{number}",
                    "source": "large",
                    "image": b"x" * 1000,
                    "title": "y" * 1000,
                }

    monkeypatch.setattr(source, "BATCH_BYTES", 5000)
    assert [len(batch) for batch in Large().batches(Report())] == [3, 3, 3, 1]
    monkeypatch.setattr(source, "BATCH_ROWS", 4)
    assert [batch.schema == SCHEMA for batch in Large().batches(Report())] == [True] * 4


def test_a_text_of_a_million_characters_costs_its_row(tmp_path: Path) -> None:
    more = {"license": "CC0", "url": "https://x.example/1.jpg", "title": "a" * (base_row.MAX_TEXT + 1)}
    lines = [{"id": 1, **more}, {"id": 2, **more, "title": "short"}]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, lines)))
    report = Report()
    batches = list(make_source("openverse", options(path=tmp_path / "a.jsonl")).batches(report))
    assert [batch["source_id"].to_pylist() for batch in batches] == [["2"]]
    assert report.skipped == {"text too long": 1}
