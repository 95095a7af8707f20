"""Backfill: stages write columns, whatever the engine, whoever else is at work, whatever goes wrong."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from commoncanvas.catalog import Catalog
from commoncanvas.core.errors import CatalogError
from commoncanvas.engine import LocalEngine
from commoncanvas.table import backfill
from commoncanvas.table.schema import to_batch

ROWS = 9000  # three fragments


class Lengths:
    """Two columns from one: the title's length, and a vector that says which row it is of."""

    name = "lengths"
    reads: tuple[str, ...] = ("title", "source_id")
    writes: tuple[pa.Field, ...] = (
        pa.field("title_length", pa.int32(), metadata={"made_by": "lengths"}),
        pa.field("vector", pa.list_(pa.float16(), 3)),
    )
    done_column = "title_length"
    batch_size = 500
    todo = "title_length IS NULL"

    def __init__(self) -> None:
        self.setups = 0
        self.batches: list[int] = []

    def setup(self) -> None:
        self.setups += 1

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        assert self.setups == 1
        assert batch.schema.names == list(self.reads)
        self.batches.append(len(batch))
        lengths = pa.array([len(title) for title in batch["title"].to_pylist()], pa.int32())
        numbers = np.array([int(text) % 1000 for text in batch["source_id"].to_pylist()], np.float16)
        vectors = pa.FixedSizeListArray.from_arrays(pa.array(np.repeat(numbers, 3)), 3)
        return pa.RecordBatch.from_arrays([lengths, vectors], names=["title_length", "vector"])


class Broken(Lengths):
    """Raises when it meets one of the last rows."""

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        if "4100" in batch["source_id"].to_pylist():
            raise ZeroDivisionError("in the stage")
        return super().__call__(batch)


def add_rows(catalog: Catalog, start: int, stop: int) -> None:
    catalog.add(
        [
            to_batch(
                {
                    "image_id": f"s:{number}",
                    "source": "s",
                    "source_id": str(number),
                    "title": "x" * (number % 7),
                }
                for number in range(start, stop)
            )
        ]
    )


def check(catalog: Catalog, rows: int = ROWS) -> None:
    """Every row has its own values."""
    catalog.refresh()
    table = catalog.table(["source_id", "title_length", "vector"])
    numbers = np.array([int(text) for text in table["source_id"].to_pylist()])
    assert sorted(numbers) == list(range(rows))
    assert (table["title_length"].to_numpy() == numbers % 7).all()
    vectors = table["vector"].combine_chunks().flatten().to_numpy().reshape(-1, 3)
    assert (vectors == (numbers % 1000)[:, None].astype(np.float16)).all()


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    catalog = Catalog.create(tmp_path / "catalog.lance")
    add_rows(catalog, 0, ROWS)
    return catalog


@pytest.mark.parametrize("engine", [None, LocalEngine(2)], ids=["inline", "threads"])
def test_every_row_gets_its_own_values_on_every_engine(catalog: Catalog, engine: LocalEngine | None) -> None:
    progress: list[int] = []
    assert catalog.backfill(Lengths(), engine=engine, on_progress=progress.append) == ROWS
    check(catalog)
    assert sum(progress) == ROWS
    assert catalog.schema.field("title_length").metadata == {b"made_by": b"lengths"}


def test_a_second_run_does_only_what_is_new(catalog: Catalog) -> None:
    catalog.backfill(Lengths())
    assert catalog.backfill(Lengths()) == 0
    add_rows(catalog, ROWS, ROWS + 10)
    stage = Lengths()
    assert catalog.backfill(stage) == 10
    assert stage.batches == [10]
    check(catalog, ROWS + 10)


def test_where_leaves_the_other_rows_for_later(catalog: Catalog) -> None:
    assert catalog.backfill(Lengths(), where="title = 'xxx' OR title = 'x'") == catalog.count(
        "title_length IS NOT NULL"
    )
    assert catalog.count("title_length IS NOT NULL") == catalog.count("title IN ('x', 'xxx')")
    assert catalog.count("title_length NOT IN (1, 3)") == 0
    catalog.backfill(Lengths())
    check(catalog)


def test_batches_are_full_even_where_few_rows_pass_the_filter(catalog: Catalog) -> None:
    stage = Lengths()
    catalog.backfill(stage, where="title = 'xxx'")
    assert max(stage.batches) == 500
    assert len(stage.batches) == 5  # 4,096 + 4,096 + 808 rows, of which a seventh


def test_slices_of_a_fragment_land_one_by_one(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backfill, "SLICE_SECONDS", 0.0)
    monkeypatch.setattr(backfill, "COMMIT_SECONDS", 0.0)
    version = catalog.version
    assert catalog.backfill(Lengths()) == ROWS
    check(catalog)
    assert catalog.version - version > 18


def test_commits_are_grouped(catalog: Catalog) -> None:
    version = catalog.version
    catalog.backfill(Lengths())
    assert catalog.version == version + 2  # the columns, then all three fragments


def test_a_failing_stage_raises_as_it_is_after_the_finished_fragments_landed(catalog: Catalog) -> None:
    add_rows(catalog, ROWS, 30_000)
    with pytest.raises(ZeroDivisionError, match="in the stage"):
        catalog.backfill(Broken(), engine=LocalEngine(3))
    done = catalog.count("title_length IS NOT NULL")
    assert done >= 4096  # what ran beside it
    assert catalog.count("title_length IS NOT NULL AND source_id = '4100'") == 0
    catalog.backfill(Lengths())
    check(catalog, 30_000)


def test_a_retried_row_that_fails_again_is_done_once_a_run(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Retry(Lengths):
        todo = "title_length IS NULL OR title_length = 3"

    monkeypatch.setattr(backfill, "SLICE_SECONDS", 0.0)
    catalog.backfill(Lengths())
    assert catalog.backfill(Retry()) == catalog.count("title = 'xxx'")
    check(catalog)


class WrongRows(Lengths):
    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        return super().__call__(batch).slice(1)


class WrongColumn(Lengths):
    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        return super().__call__(batch).rename_columns(["title_length", "wektor"])


class NotDone(Lengths):
    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        result = super().__call__(batch)
        return result.set_column(0, result.schema.field(0), pa.nulls(len(result), pa.int32()))


@pytest.mark.parametrize(
    ("stage", "message"),
    [
        (WrongRows(), "returned 499 rows for 500"),
        (WrongColumn(), "must return title_length: int32, vector: .*, but returned .* wektor"),
        (NotDone(), "left title_length null in 500 of 500 rows"),
    ],
    ids=["rows", "columns", "not done"],
)
def test_a_stage_that_returns_nonsense_is_named_and_nothing_of_it_lands(
    catalog: Catalog, stage: Lengths, message: str
) -> None:
    with pytest.raises(CatalogError, match=f"stage lengths {message}"):
        catalog.backfill(stage)
    assert catalog.count("title_length IS NOT NULL") == 0


def test_a_wrong_filter_and_a_missing_column_are_said_before_any_work(catalog: Catalog) -> None:
    with pytest.raises(CatalogError, match=r"filter .*nosuch.* is not valid"):
        catalog.backfill(Lengths(), where="nosuch = 1")

    class Reads(Lengths):
        reads = ("nosuch",)

    with pytest.raises(CatalogError, match="no column nosuch"):
        catalog.backfill(Reads())


def test_two_stages_at_once_lose_nothing_of_each_other(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backfill, "SLICE_SECONDS", 0.05)
    monkeypatch.setattr(backfill, "COMMIT_SECONDS", 0.0)

    class Upper(Lengths):
        name = "upper"
        reads = ("source_id",)
        writes = (pa.field("shout", pa.string()),)
        done_column = "shout"
        todo = "shout IS NULL"

        def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
            return pa.RecordBatch.from_pydict(
                {"shout": [f"{text}!" for text in batch["source_id"].to_pylist()]}
            )

    failures: list[BaseException] = []
    progress: list[int] = []

    def run(stage: Lengths) -> None:
        try:
            Catalog.open(catalog.uri).backfill(stage, on_progress=progress.append)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(stage,)) for stage in (Lengths(), Upper())]
    threads.append(threading.Thread(target=add_rows, args=(Catalog.open(catalog.uri), ROWS, ROWS + 5000)))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    catalog.backfill(Lengths())
    catalog.backfill(Upper())
    check(catalog, ROWS + 5000)
    table = catalog.table(["source_id", "shout"])
    assert table["shout"].to_pylist() == [f"{text}!" for text in table["source_id"].to_pylist()]
    assert sum(progress) <= 2 * (ROWS + 5000)


def test_the_same_stage_twice_at_once_shares_the_work(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backfill, "COMMIT_SECONDS", 0.0)
    done: list[int] = []
    threads = [
        threading.Thread(target=lambda: done.append(Catalog.open(catalog.uri).backfill(Lengths())))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(done) == ROWS  # what lost a race isn't counted
    check(catalog)


def test_a_delete_while_a_stage_runs_is_never_undone(catalog: Catalog) -> None:
    class Deletes(Lengths):
        def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
            if len(self.batches) == 2:
                Catalog.open(catalog.uri).dataset.delete("title = 'xxx'")
            return super().__call__(batch)

    left = catalog.count("title != 'xxx'")
    catalog.backfill(Deletes())
    catalog.refresh()
    assert catalog.count() == left
    assert catalog.count("title = 'xxx'") == 0
    assert catalog.count("title_length IS NULL") == 0


def test_an_empty_catalog_gets_the_columns_and_no_work(tmp_path: Path) -> None:
    catalog = Catalog.create(tmp_path / "catalog.lance")
    assert catalog.backfill(Lengths()) == 0
    assert "vector" in catalog.schema.names


def test_a_pinned_catalog_is_not_filled(catalog: Catalog) -> None:
    with pytest.raises(CatalogError, match="open it without a version"):
        Catalog.open(catalog.uri, version=catalog.version).backfill(Lengths())
