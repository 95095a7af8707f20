"""What isn't trained on is said, step by step: at import, at fetch, by takedowns, and by each saved filter."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commoncanvas import licenses
from commoncanvas.catalog import Catalog, curate, import_, save_filter, stats, takedown
from commoncanvas.catalog.import_records import PLACE, fingerprint, import_records, record_import
from commoncanvas.catalog.stats.result import dropped_lines
from commoncanvas.core.errors import NothingImportedError
from commoncanvas.table.schema import to_batch
from commoncanvas.table.sql import all_of, parts

HEADER = "file,license,creator\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three images; one may not be used, of one nobody knows who made it."""
    made = tmp_path / "Jane Doe's photos"
    made.mkdir()
    for name in "abc":
        (made / f"{name}.png").write_bytes(b"not looked at by an import")
    lines = ["a.png,CC-BY-4.0,Ada", "b.png,my own terms,Ada", "c.png,CC-BY-4.0,"]
    (made / "metadata.csv").write_text(HEADER + "\n".join(lines) + "\n")
    return made


def test_what_an_import_skipped_is_known_later_and_once_however_often_it_runs(
    folder: Path, tmp_path: Path
) -> None:
    uri = tmp_path / "c.lance"
    for _ in range(3):
        report = import_("folder", uri, path=folder)
    (record,) = stats(uri).dropped.imports
    assert (record.source, record.rows, record.refused) == ("folder", 1, 0)
    assert record.skipped == report.skipped == {"unknown licence": 1, "no creator": 1}
    assert len(list((uri / PLACE).iterdir())) == 1
    other = folder.with_name("more")
    folder.rename(other)
    import_("folder", uri, path=other)
    assert [each.rows for each in stats(uri).dropped.imports] == [1, 1]


def test_a_try_with_other_metadata_or_licence_is_not_counted_twice(folder: Path, tmp_path: Path) -> None:
    uri = tmp_path / "c.lance"
    (tmp_path / "wrong.csv").write_text(HEADER + "a.png,CC0,Ada\nnowhere.png,CC0,Ada\n")
    with pytest.raises(NothingImportedError):
        import_("folder", uri, path=folder.parent, metadata=folder / "metadata.csv")
    import_("folder", uri, path=folder, metadata=tmp_path / "wrong.csv", label_column="creator")
    assert stats(uri).dropped.imports[0].skipped == {"file missing": 1, "no metadata": 2}
    (folder / "metadata.csv").write_text(HEADER + "a.png,CC0,Ada\nb.png,CC0,Ada\nc.png,my own,Ada\n")
    import_("folder", uri, path=folder)
    dropped = stats(uri).dropped
    assert [record.skipped for record in dropped.imports] == [{"unknown licence": 1}]
    takedown(uri, id=[f"folder:{folder.name}/a.png"], reason="asked")
    import_("folder", uri, path=folder)
    (line, *_) = dropped_lines(stats(uri).dropped)
    assert line == "The import from folder left out 2 of 3 rows: taken down before (1), unknown licence (1)."


def test_the_record_of_an_import_names_nobody(folder: Path, tmp_path: Path) -> None:
    uri = tmp_path / "c.lance"
    import_("folder", uri, path=folder, creator="Jane Doe", name="janes")
    (path,) = (uri / PLACE).iterdir()
    said = path.read_text() + path.name
    for word in ("Jane", "janes", "Ada", "a.png", "metadata", str(tmp_path)):
        assert word not in said
    takedown(uri, id=["folder:janes/a.png"], reason="asked by Jane", purge=True)
    import_("folder", uri, path=folder, creator="Jane Doe", name="janes")
    dropped = stats(uri).dropped
    assert (dropped.taken_down, dropped.imports[0].refused) == (1, 1)
    assert "Jane" not in json.dumps(stats(uri).to_dict()["dropped"])


def test_imports_at_once_leave_one_whole_record(tmp_path: Path) -> None:
    uri = Catalog.create(tmp_path / "c.lance").uri
    input = fingerprint("folder", "somewhere")
    failures: list[BaseException] = []

    def record(number: int) -> None:
        try:
            for _ in range(20):
                record_import(uri, None, input, "folder", number, 0, {"no licence": number})
                assert len(import_records(uri)) == 1
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=record, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    record_import(uri, None, input, "folder", 7, 0, {})
    assert [record.rows for record in import_records(uri)] == [7]
    assert len(list(Path(uri, PLACE).iterdir())) == 1


_WRITES = """
import sys
from commoncanvas.catalog.import_records import record_import
while True:
    record_import(sys.argv[1], None, "input", "folder", 7, 1, {"no licence": 3})
    print("one", flush=True)
"""


@pytest.mark.slow
def test_a_record_that_a_killed_process_was_writing_is_whole_or_not_there(tmp_path: Path) -> None:
    uri = Catalog.create(tmp_path / "c.lance").uri
    pause = random.Random(5)
    for _ in range(6):
        process = subprocess.Popen([sys.executable, "-c", _WRITES, uri], stdout=subprocess.PIPE)
        assert process.stdout is not None and process.stdout.readline() == b"one\n"
        time.sleep(pause.uniform(0, 0.05))
        process.kill()
        process.communicate()
        (record,) = import_records(uri)
        assert (record.rows, record.refused, record.skipped) == (7, 1, {"no licence": 3})
    record_import(uri, None, "input", "folder", 8, 0, {})
    assert [each.rows for each in import_records(uri)] == [8]
    assert len(list(Path(uri, PLACE).glob("*.json"))) == 1


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    """Twelve rows: licences in turn, half of them fetched, a third small."""
    ids = ["CC-BY-4.0", "CC-BY-NC-2.0", "CC-BY-ND-2.0", "unknown"]
    catalog = Catalog.create(tmp_path / "c.lance")
    rows: list[dict[str, Any]] = [
        {
            "image_id": f"s:{number}",
            "source": "s",
            "license": ids[number % 4],
            "creator": "Ada",
            "fetch_status": "ok" if number < 6 else "timeout",
            "original_width": 100 if number % 3 else 10,
            "original_height": 100,
        }
        for number in range(12)
    ]
    catalog.add([to_batch(rows)])
    return catalog


def test_each_step_of_a_saved_filter_is_counted_as_it_was_when_it_was_made(catalog: Catalog) -> None:
    curate(catalog, name="all")
    where = "creator = 'Ada' OR (true)"
    report = curate(catalog, policy="commercial", min_side=50, max_aspect=9.5, where=where, name="large")
    found = stats(catalog)
    large = next(each for each in found.dropped.filters if each.name == "large")
    assert large.steps == report.steps
    assert (large.commercial, large.noncommercial) == (report.commercial, report.noncommercial) == (1, 3)
    assert found.rows == 12 and found.dropped.not_fetched == {"timeout": 6}
    assert found.dropped.duplicates is None


def test_a_filter_on_a_column_that_is_gone_is_named_and_stops_nothing(catalog: Catalog) -> None:
    import pyarrow as pa

    catalog.add_columns([pa.field("score", pa.float32())])
    save_filter(catalog, "sharp", "score > 0.5")
    catalog.drop_columns(["score"])
    catalog.refresh()
    (filter,) = stats(catalog).dropped.filters
    assert filter.name == "sharp" and "score" in str(filter.error)


def test_a_filter_given_to_stats_limits_the_steps_too(catalog: Catalog) -> None:
    curate(catalog, name="all")
    (filter,) = stats(catalog, where="original_width = 10").dropped.filters
    assert filter.commercial + sum(step.commercial for step in filter.steps) == 4


CONDITIONS = st.sampled_from(
    [
        "a = 1",
        "b IN (1, 2)",
        "c = 'x) AND (y'",
        "(d) OR (e)",
        "true",
        licenses.sql_filter(licenses.Policy.COMMERCIAL),
    ]
)


@given(st.lists(CONDITIONS, min_size=1, max_size=5))
def test_conditions_come_apart_as_they_were_put_together(conditions: list[str]) -> None:
    assert parts(all_of(*conditions)) == conditions


@pytest.mark.parametrize(
    "condition",
    ["true", "a = 1", "(a) OR (b)", "(a) AND (b) AND c", "(a) AND NOT (b)", "x IN (1) AND (b)", "(a) "],
)
def test_what_is_not_a_list_of_conditions_stays_whole(condition: str) -> None:
    assert parts(condition) == [condition]
