"""Rows that wait for their image get it from a later source, once, whatever others do to them meanwhile."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from commoncanvas.catalog import Catalog, import_, takedown
from commoncanvas.table import append
from commoncanvas.table.columns import ColumnInfo
from commoncanvas.table.fill_images import Filler
from commoncanvas.table.known_ids import KnownRows
from commoncanvas.table.schema import to_batch
from tests.catalog.killable import Numbers, Pictures
from tests.catalog.test_faults import content, finish, kill_until_done, size, start

COLUMNS = ["image_id", "source", "title", "description", "image", "fetch_status", "width"]


@pytest.fixture(autouse=True)
def small_fragments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(append, "FRAGMENT_ROWS", 10)


def waiting(uri: Path, count: int = 40) -> Catalog:
    """Rows a:0, a:1 ... without an image, every fourth without a title."""
    catalog = Catalog.create(uri)
    catalog.add(
        [
            to_batch(
                {"image_id": f"a:{n}", "source": "a", "title": f"title {n}" if n % 4 else None}
                for n in range(count)
            )
        ]
    )
    return catalog


def brought(*numbers: int, **more: Any) -> pa.RecordBatch:
    said = {"source": "b", "title": "b's", "description": "b's", "width": 7, "fetch_status": "ok"}
    return to_batch({**said, "image_id": f"a:{n}", "image": b"image %d" % n, **more} for n in numbers)


def rows(catalog: Catalog, columns: list[str] = COLUMNS) -> dict[str, dict[str, Any]]:
    found = Catalog.open(catalog.uri).table(columns).to_pylist()
    assert len({row["image_id"] for row in found}) == len(found)
    return {row.pop("image_id"): row for row in found}


def test_a_row_gets_the_image_and_what_it_lacks_and_keeps_what_it_has(tmp_path: Path) -> None:
    catalog = waiting(tmp_path / "c")
    before = rows(catalog)
    assert catalog.add([brought(31, 4, 17, 99)]) == (1, 3)
    after = rows(catalog)
    for n in (31, 4, 17):
        title = f"title {n}" if n % 4 else "b's"
        assert after[f"a:{n}"] == {
            "source": "a",
            "title": title,
            "description": "b's",
            "image": b"image %d" % n,
            "fetch_status": "ok",
            "width": 7,
        }
    assert {key: after[key] for key in before if key not in ("a:31", "a:4", "a:17")} == {
        key: row for key, row in before.items() if key not in ("a:31", "a:4", "a:17")
    }
    assert len(after) == 41


def test_an_image_that_is_there_is_not_replaced(tmp_path: Path) -> None:
    catalog = waiting(tmp_path / "c")
    catalog.add([brought(3)])
    catalog.add([brought(3, 5, image=b"another")])
    found = rows(catalog)
    assert (found["a:3"]["image"], found["a:5"]["image"]) == (b"image 3", b"another")


def test_of_a_row_that_comes_twice_the_first_image_counts(tmp_path: Path) -> None:
    catalog = waiting(tmp_path / "c")
    catalog.add([brought(3, 5, image=None, fetch_status=None), brought(5, 3), brought(3, image=b"late")])
    found = rows(catalog)
    assert (found["a:3"]["image"], found["a:5"]["image"]) == (b"image 3", b"image 5")


def test_a_fragment_all_of_whose_rows_are_filled_goes(tmp_path: Path) -> None:
    catalog = waiting(tmp_path / "c")
    assert catalog.add([brought(*range(40))]) == (0, 40)
    catalog.dataset.validate()
    assert len(catalog) == 40 and len(catalog.dataset.get_fragments()) == 4


def test_what_a_model_made_of_the_image_that_was_not_there_is_made_anew(tmp_path: Path) -> None:
    catalog = waiting(tmp_path / "c")
    info = ColumnInfo("ab" * 32, (("image", None),), (), "model")
    catalog.add_columns([info.field("score", pa.float32()), pa.field("note", pa.string())])
    catalog.dataset.update({"score": "0.5", "note": "'mine'"})
    catalog.add([brought(3)])
    found = rows(catalog, ["image_id", "score", "note"])
    assert found["a:3"] == {"score": None, "note": "mine"}
    assert found["a:4"] == {"score": 0.5, "note": "mine"}


@pytest.mark.parametrize("times", [1, 3])
def test_what_others_do_to_the_rows_before_the_commit_is_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    catalog = waiting(tmp_path / "c")
    land = Filler._land
    calls = 0

    def after_others(filler: Filler, places: pa.Table, written: list[Any]) -> bool:
        nonlocal calls
        calls += 1
        if calls <= times:
            theirs = Catalog.open(catalog.uri)
            theirs.dataset.delete(f"image_id = 'a:{calls}'")
            theirs.dataset.update({"description": "'theirs'"}, f"image_id = 'a:{10 + calls}'")
            theirs.dataset.update({"title": "'unconcerned'"}, f"image_id = 'a:{20 + calls}'")
        return land(filler, places, written)

    monkeypatch.setattr(Filler, "_land", after_others)
    catalog.add([brought(*range(15))])
    monkeypatch.undo()
    found = rows(catalog)
    for n in range(1, times + 1):
        assert f"a:{n}" not in found
        assert found[f"a:{10 + n}"]["description"] == "theirs"
        assert found[f"a:{10 + n}"]["image"] == b"image %d" % (10 + n)
        assert found[f"a:{20 + n}"]["title"] == "unconcerned"
    assert calls == times + 1
    catalog.dataset.validate()
    used = {file.path for part in catalog.dataset.get_fragments() for file in part.metadata.files}
    lying = {path.name for path in (tmp_path / "c" / "data").iterdir()} - used
    for path in lying:  # of older versions; no attempt's files were left
        assert b"image 0" not in (tmp_path / "c" / "data" / path).read_bytes()


def test_an_import_at_the_same_time_takes_no_filled_row_for_a_double(tmp_path: Path) -> None:
    catalog = waiting(tmp_path / "c")
    other = append.Adder(Catalog.open(catalog.uri))
    catalog.add([brought(*range(0, 40, 2), 100)])
    other.write_new(pa.Table.from_batches([brought(1, 2, 100, 101)]))
    other.commit()
    assert other.added == 1
    found = rows(catalog)
    assert len(found) == 42
    assert sum(row["image"] is not None for row in found.values()) == 22


@pytest.mark.slow
def test_a_fill_killed_again_and_again_ends_as_one_never_killed(tmp_path: Path) -> None:
    for name in ("killed.lance", "whole.lance"):
        import_(Numbers(0), tmp_path / name)
    assert kill_until_done("fill", tmp_path / "killed.lance", seed=5) >= 2
    import_(Pictures(0), tmp_path / "whole.lance")
    columns = ["image_id", "title", "description", "image", "fetch_status"]
    killed, whole = (content(tmp_path / name, columns) for name in ("killed.lance", "whole.lance"))
    assert killed["image"].null_count == 0
    assert killed.equals(whole)


@pytest.mark.slow
def test_two_fills_and_a_stage_at_once_lose_nothing(tmp_path: Path) -> None:
    import_(Numbers(0), tmp_path / "c.lance")
    running = [start(what, tmp_path / "c.lance") for what in ("fill", "stage", "fill")]
    for process in running:
        finish(process)
    finish(start("stage", tmp_path / "c.lance"))
    found = content(tmp_path / "c.lance", ["image_id", "title", "image", "square"])
    for row in found.to_pylist():
        assert row["image"] == row["image_id"].encode() * 200
        assert row["square"] == len(row["title"]) ** 2


def test_a_filled_row_is_taken_down_with_every_trace_of_it(tmp_path: Path) -> None:
    catalog = waiting(tmp_path / "c")
    catalog.add([brought(3, 5, 8, image=bytes(range(256)) * 4), brought(9, image=b"n" * 1000)])
    takedown(catalog, id=["a:3", "a:5", "a:8"], reason="asked", purge=True)
    held = b"".join(path.read_bytes() for path in (tmp_path / "c" / "data").iterdir())
    for trace in (bytes(range(256)), b"title 3t", b"title 5t"):
        assert trace not in held
    assert b"title 6t" in held and rows(catalog)["a:9"]["image"] == b"n" * 1000
    assert len(rows(catalog)) == 37


def test_each_image_is_written_once_in_whatever_order_they_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(append, "PART_ROWS", 20)
    monkeypatch.setattr(append, "GROUP_ROWS", 20)
    catalog = waiting(tmp_path / "c", 200)
    order = np.random.default_rng(0).permutation(200).tolist()
    bulky = np.random.default_rng(1).bytes(10_000)
    catalog.add([brought(*order, image=bulky)])
    assert sum(row["image"] == bulky for row in rows(catalog).values()) == 200
    assert size(tmp_path / "c" / "data") < 1.2 * 200 * len(bulky)


@given(st.lists(st.text(max_size=3), max_size=60), st.lists(st.text(max_size=3), max_size=20))
def test_rows_are_found_by_their_ids(ids: list[str], asked: list[str]) -> None:
    row_ids = np.arange(len(ids), dtype=np.uint64) + 5
    known = KnownRows([(ids[:7], row_ids[:7]), (ids[7:], row_ids[7:])])
    assert len(known) == len(ids)
    wanted = {row_id for one, row_id in zip(ids, row_ids.tolist(), strict=True) if one in asked}
    assert known.candidates(asked).tolist() == sorted(wanted)  # 32 bits tell so few apart
