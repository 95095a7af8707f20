"""The table: opening, append, reading, versions and tags, on real Lance data."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import lance
import numpy as np
import pyarrow as pa
import pytest

from commoncanvas.catalog import Catalog
from commoncanvas.core.errors import CatalogError
from commoncanvas.table import append
from commoncanvas.table.append import FRAGMENT_ROWS, GROUP_ROWS
from commoncanvas.table.schema import SCHEMA, to_batch


def rows(start: int, stop: int, source: str = "s") -> pa.RecordBatch:
    return to_batch(
        {"image_id": f"{source}:{number}", "source": source, "title": f"t{number}"}
        for number in range(start, stop)
    )


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    return Catalog.create(tmp_path / "catalog.lance")


def test_a_new_catalog_is_empty_and_has_every_base_column(catalog: Catalog) -> None:
    assert catalog.count() == len(catalog) == 0
    assert catalog.schema.names == SCHEMA.names
    assert [field.type for field in catalog.schema] == [field.type for field in SCHEMA]
    assert not catalog.schema.field("image_id").nullable


def test_create_refuses_what_exists_and_open_what_does_not(catalog: Catalog, tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match="exists already"):
        Catalog.create(catalog.uri)
    with pytest.raises(CatalogError, match=r"no catalog at .*commoncanvas catalog import"):
        Catalog.open(tmp_path / "nowhere.lance")
    assert Catalog.open_or_create(catalog.uri).version == catalog.version
    assert Catalog.open_or_create(tmp_path / "new.lance").count() == 0


def test_a_lance_table_that_is_no_catalog_is_refused(tmp_path: Path) -> None:
    lance.write_dataset(pa.table({"a": [1]}), str(tmp_path / "other.lance"))
    with pytest.raises(CatalogError, match="not a catalog"):
        Catalog.open(tmp_path / "other.lance")


def test_a_catalog_of_a_newer_format_is_refused(tmp_path: Path) -> None:
    newer = SCHEMA.with_metadata({b"commoncanvas.format": b"999"})
    lance.write_dataset(newer.empty_table(), str(tmp_path / "newer.lance"))
    with pytest.raises(CatalogError, match="upgrade"):
        Catalog.open(tmp_path / "newer.lance")


def test_adding_again_adds_nothing_and_keeps_what_was_there(catalog: Catalog) -> None:
    assert catalog.add([rows(0, 10)]) == (10, 0)
    changed = to_batch([{"image_id": "s:3", "source": "s", "title": "changed"}])
    assert catalog.add([changed, rows(5, 15)]) == (5, 6)
    assert catalog.count() == 15
    assert catalog.table(["title"], "image_id = 's:3'")["title"].to_pylist() == ["t3"]


def test_an_id_twice_in_one_import_is_added_once_the_first_of_them(catalog: Catalog) -> None:
    twice = to_batch([{"image_id": "a", "source": "s", "title": title} for title in ("first", "second")])
    assert catalog.add([twice, twice]) == (1, 3)
    assert catalog.table(["title"])["title"].to_pylist() == ["first"]


def test_fragments_stay_small_enough_to_hold_their_images_in_memory(catalog: Catalog) -> None:
    catalog.add(rows(start, start + 1000) for start in range(0, 10_000, 1000))
    sizes = [fragment.count_rows() for fragment in catalog.dataset.get_fragments()]
    assert sum(sizes) == 10_000
    assert max(sizes) == FRAGMENT_ROWS
    assert len(sizes) == 3


def test_adding_streams_so_that_what_came_before_a_failure_is_kept(catalog: Catalog) -> None:
    def source() -> Iterator[pa.RecordBatch]:
        yield rows(0, GROUP_ROWS)
        yield rows(GROUP_ROWS, GROUP_ROWS + 10)
        raise OSError("the disk of the source died")

    with pytest.raises(OSError, match="disk of the source"):
        catalog.add(source())
    assert Catalog.open(catalog.uri).count() == GROUP_ROWS + 10


def test_threads_that_add_the_same_rows_at_once_add_them_once(catalog: Catalog) -> None:
    counts: list[int] = []

    def add() -> None:
        counts.append(
            Catalog.open(catalog.uri).add(rows(start, start + 500) for start in range(0, 2000, 500))[0]
        )

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    catalog.refresh()
    assert catalog.count() == sum(counts) == 2000
    assert len(set(catalog.table(["image_id"])["image_id"].to_pylist())) == 2000


def _import_half(uri: str, start: int, stop: int) -> None:
    Catalog.open_or_create(uri).add(rows(at, at + 100) for at in range(start, stop, 100))


def test_two_processes_may_make_and_fill_one_catalog_at_once(tmp_path: Path) -> None:
    uri = str(tmp_path / "catalog.lance")
    spawn = multiprocessing.get_context("spawn")
    processes = [spawn.Process(target=_import_half, args=(uri, *part)) for part in ((0, 6000), (3000, 9000))]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    ids = Catalog.open(uri).table(["image_id"])["image_id"].to_pylist()
    assert len(ids) == len(set(ids)) == 9000


def test_take_gives_rows_in_the_order_asked_for_and_repeats_them(catalog: Catalog) -> None:
    catalog.add([rows(0, 5000)])
    table = catalog.table(["title"], with_row_id=True)
    ids = dict(zip(table["title"].to_pylist(), table["_rowid"].to_pylist(), strict=True))
    asked = ["t4999", "t0", "t17", "t0", "t4097"]
    taken = catalog.take(np.array([ids[title] for title in asked], np.uint64), ["title", "source"])
    assert taken["title"].to_pylist() == asked
    assert taken.column_names == ["title", "source"]
    assert len(catalog.take(np.array([], np.uint64), ["title"])) == 0


def test_row_ids_still_name_the_same_rows_after_deletes_and_compaction(catalog: Catalog) -> None:
    catalog.add([rows(0, 100)])
    table = catalog.table(["title"], with_row_id=True)
    catalog.dataset.delete("title IN ('t0', 't50')")
    catalog.dataset.optimize.compact_files(materialize_deletions_threshold=0.0)
    catalog.refresh()
    kept = table.filter(pa.compute.field("title") != "t0").filter(pa.compute.field("title") != "t50")
    assert (
        catalog.take(kept["_rowid"].to_numpy(), ["title"])["title"].to_pylist() == kept["title"].to_pylist()
    )
    with pytest.raises(CatalogError, match="has no row 50; open the version") as raised:
        catalog.take(np.array([50, 3], np.uint64), ["title"])
    assert "more" not in str(raised.value)
    with pytest.raises(CatalogError, match="has no row 0 and 1 more"):
        catalog.take(np.array([0, 3, 50], np.uint64), ["title"])


def test_scan_and_table_filter_limit_and_keep_to_the_batch_size(catalog: Catalog) -> None:
    catalog.add([rows(0, 300)])
    batches = list(catalog.scan(["title"], batch_size=100, with_row_id=True))
    assert sum(len(batch) for batch in batches) == 300
    assert max(len(batch) for batch in batches) <= 100
    assert batches[0].schema.names == ["title", "_rowid"]
    assert catalog.count("title = 't7'") == 1
    assert len(catalog.table(["title"], "title != 't7'", limit=5)) == 5


@pytest.mark.parametrize(
    "filter",
    ["nosuch = 1", "title =", "title > 5 + 'x'", "frobnicate(title)"],
)
def test_a_wrong_filter_is_one_clear_line(catalog: Catalog, filter: str) -> None:
    for call in (lambda: catalog.count(filter), lambda: catalog.table(["title"], filter)):
        with pytest.raises(CatalogError, match=r"filter .* is not valid") as raised:
            call()
        assert "\n" not in str(raised.value)
        assert ".rs:" not in str(raised.value)


@pytest.mark.parametrize("filter", ["1 / (length(title) - length(title)) > 0", "cast(title AS int) > 0"])
def test_a_filter_that_fails_on_a_rows_value_is_one_clear_line(catalog: Catalog, filter: str) -> None:
    catalog.add([rows(0, 3)])
    test_a_wrong_filter_is_one_clear_line(catalog, filter)


def test_a_column_that_is_not_there_is_named(catalog: Catalog) -> None:
    for call in (lambda: catalog.table(["titel"]), lambda: catalog.take(np.array([0], np.uint64), ["titel"])):
        with pytest.raises(CatalogError, match="no column titel"):
            call()


def test_a_tag_pins_a_version_through_later_changes_and_clean_up(catalog: Catalog) -> None:
    catalog.add([rows(0, 10)])
    catalog.tag("first")
    catalog.tag("first")
    catalog.add([rows(10, 20)])
    catalog.cleanup(timedelta(0), exclusive=True)
    pinned = Catalog.open(catalog.uri, version="first")
    assert (pinned.count(), catalog.count()) == (10, 20)
    assert catalog.tags() == {"first": pinned.version}
    with pytest.raises(
        CatalogError, match=rf"tag first of .* is version {pinned.version}, not {catalog.version}"
    ):
        catalog.tag("first")
    catalog.delete_tag("first")
    with pytest.raises(CatalogError, match="no tag first; it has: none"):
        catalog.delete_tag("first")
    with pytest.raises(CatalogError, match="no tag first"):
        Catalog.open(catalog.uri, version="first")
    with pytest.raises(CatalogError, match="no version 999"):
        Catalog.open(catalog.uri, version=999)
    with pytest.raises(CatalogError, match=r"tag .* can't be created"):
        catalog.tag("not a tag/name")


def test_a_pinned_catalog_can_not_be_changed(catalog: Catalog) -> None:
    pinned = Catalog.open(catalog.uri, version=catalog.version)
    for change in (lambda: pinned.add([rows(0, 1)]), pinned.refresh, pinned.cleanup):
        with pytest.raises(CatalogError, match="open it without a version"):
            change()


def test_columns_are_added_once_and_another_meaning_is_refused(catalog: Catalog) -> None:
    field = pa.field("score", pa.float32(), metadata={"made_by": "a"})
    catalog.add_columns([field])
    version = catalog.version
    catalog.add_columns([field])
    assert catalog.version == version
    assert catalog.schema.field("image_id").metadata == SCHEMA.field("image_id").metadata
    for other in (pa.field("score", pa.int32()), pa.field("score", pa.float32(), metadata={"made_by": "b"})):
        with pytest.raises(CatalogError, match=r"column score .* is float .*'a'.*, not "):
            catalog.add_columns([other])
    catalog.drop_columns(["score"])
    catalog.refresh()
    assert "score" not in catalog.schema.names
    with pytest.raises(CatalogError, match="belongs to every catalog"):
        catalog.drop_columns(["license"])


def test_threads_that_add_one_column_at_once_agree_on_it(catalog: Catalog) -> None:
    catalog.add([rows(0, 10)])
    fields = [pa.field(f"c{number}", pa.string()) for number in range(5)]
    failures: list[BaseException] = []

    def add() -> None:
        try:
            mine = Catalog.open(catalog.uri)
            for field in fields:
                mine.add_columns([field])
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    catalog.refresh()
    assert failures == []
    assert catalog.schema.names[-5:] == [field.name for field in fields]


def test_rows_that_no_catalog_has_columns_for_are_refused() -> None:
    with pytest.raises(CatalogError, match="nosuch"):
        to_batch([{"image_id": "a", "source": "s", "nosuch": 1}])
    with pytest.raises(CatalogError, match="does not fit"):
        to_batch([{"image_id": "a", "source": "s", "title": 5}])


def test_a_compaction_during_an_import_costs_no_row(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It puts old rows into new fragments, which an import must not take for rows added twice."""
    monkeypatch.setattr(append, "PART_ROWS", 10)
    monkeypatch.setattr(append, "GROUP_ROWS", 10)
    catalog.add(rows(start, start + 10) for start in range(0, 50, 10))

    def source() -> Iterator[pa.RecordBatch]:
        yield rows(50, 60)
        Catalog.open(catalog.uri).dataset.optimize.compact_files()
        yield rows(40, 80)

    assert catalog.add(source()) == (30, 20)
    ids = catalog.table(["image_id"])["image_id"].to_pylist()
    assert sorted(ids) == sorted(f"s:{number}" for number in range(80))


def test_rows_that_two_imports_added_at_once_stay_once_the_older_ones(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    def source() -> Iterator[pa.RecordBatch]:
        yield rows(0, 5)
        Catalog.open(catalog.uri).add(
            [to_batch([{"image_id": f"s:{n}", "source": "other"} for n in range(3, 9)])]
        )
        yield rows(5, 10)

    assert catalog.add(source()) == (4, 6)
    table = catalog.table(["image_id", "source"]).sort_by("image_id")
    assert table["image_id"].to_pylist() == [f"s:{number}" for number in range(10)]
    assert table["source"].to_pylist() == ["s"] * 3 + ["other"] * 6 + ["s"]
