"""Killed at any moment and run again, or run twice at once: the same rows, the same bytes, nothing lost or doubled."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from commoncanvas.catalog import Catalog, FetchOptions, fetch, import_, saved_filters
from commoncanvas.table.sql import listed
from tests.catalog.killable import ROWS, Numbers, Squares

KILLS = 6
REPOSITORY = Path(__file__).parents[2]


def start(what: str, uri: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.catalog.killable", what, str(uri)]
    return subprocess.Popen(command, cwd=REPOSITORY, stderr=subprocess.PIPE, start_new_session=True)


def finish(process: subprocess.Popen[bytes]) -> None:
    _, stderr = process.communicate(timeout=250)
    assert process.returncode == 0, stderr.decode()


def kill_until_done(what: str, uri: Path, seed: int) -> int:
    """Run, SIGKILL after a random while in which it has changed something, again; then let it finish. -> kills"""
    draw = random.Random(seed)
    kills = 0
    for _ in range(KILLS):
        before = version(uri)
        process = start(what, uri)
        deadline = time.monotonic() + 60
        # First let it get to work, so that kills don't all hit the imports of Python.
        while process.poll() is None and version(uri) == before and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(draw.uniform(0, 0.5))
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            kills += 1
        # Ends only when the workers, who hold the pipe too, are gone as well.
        process.communicate(timeout=100)
        if version(uri) is not None:
            Catalog.open(uri).dataset.validate()
    finish(start(what, uri))
    return kills


def version(uri: Path) -> int | None:
    versions = uri / "_versions"
    return len(list(versions.iterdir())) if versions.exists() else None


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def content(uri: Path, columns: list[str]) -> pa.Table:
    table = Catalog.open(uri).table(columns).sort_by("image_id")
    ids = table["image_id"].to_pylist()
    assert len(ids) == len(set(ids))
    return table.combine_chunks()


@pytest.mark.slow
def test_an_import_killed_again_and_again_ends_as_one_never_killed(tmp_path: Path) -> None:
    assert kill_until_done("import", tmp_path / "killed.lance", seed=1) >= 2
    import_(Numbers(0), tmp_path / "whole.lance")
    killed, whole = (
        content(tmp_path / name, ["image_id", "title"]) for name in ("killed.lance", "whole.lance")
    )
    assert killed.equals(whole)
    assert len(killed) == ROWS


@pytest.mark.parametrize("what", ["stage", pytest.param("stage-in-threads", marks=pytest.mark.heavy)])
@pytest.mark.slow
def test_a_stage_killed_again_and_again_ends_as_one_never_killed(tmp_path: Path, what: str) -> None:
    finish(start("import", tmp_path / "killed.lance"))  # in small fragments
    import_(Numbers(0), tmp_path / "whole.lance")
    assert kill_until_done(what, tmp_path / "killed.lance", seed=2) >= 2
    Catalog.open(tmp_path / "whole.lance").backfill(Squares(0))
    # What the killed runs left behind goes, and takes nothing along.
    before = size(tmp_path / "killed.lance")
    removed = Catalog.open(tmp_path / "killed.lance").cleanup(timedelta(0), exclusive=True)
    assert 0 < removed <= before - size(tmp_path / "killed.lance")
    columns = ["image_id", "title", "square", "padding"]
    killed, whole = (content(tmp_path / name, columns) for name in ("killed.lance", "whole.lance"))
    assert killed.equals(whole)
    assert killed["square"].null_count == 0


@pytest.mark.slow
def test_a_fetch_killed_again_and_again_ends_as_one_never_killed(tmp_path: Path) -> None:
    for name in ("killed.lance", "whole.lance"):
        import_("openmoji", tmp_path / name)
    kill_until_done("fetch", tmp_path / "killed.lance", seed=3)
    some = "array_has(tags, 'animals-nature') OR array_has(tags, 'food-drink')"
    fetch(tmp_path / "whole.lance", FetchOptions(size=32), where=some)
    columns = Catalog.open(tmp_path / "whole.lance").schema.names
    killed, whole = (content(tmp_path / name, columns) for name in ("killed.lance", "whole.lance"))
    assert killed.equals(whole)


@pytest.mark.slow
def test_two_processes_at_one_stage_and_one_at_the_import_end_as_one_alone(tmp_path: Path) -> None:
    import_(Numbers(0), tmp_path / "whole.lance")
    Catalog.open(tmp_path / "whole.lance").backfill(Squares(0))
    shared = tmp_path / "shared.lance"
    Catalog.create(shared)
    importers = [start("import", shared), start("import", shared)]
    while Catalog.open(shared).count() < ROWS / 10:
        time.sleep(0.05)
    workers = [start("stage", shared), start("stage", shared), start("stage-in-threads", shared)]
    for process in importers + workers:
        finish(process)
    finish(start("stage", shared))  # rows that came in after the last stage had looked
    columns = ["image_id", "title", "square", "padding"]
    assert content(shared, columns).equals(content(tmp_path / "whole.lance", columns))


@pytest.mark.slow
def test_imports_of_the_same_rows_at_once_one_of_them_killed_leave_each_row_once(tmp_path: Path) -> None:
    shared = tmp_path / "shared.lance"
    Catalog.create(shared)
    chance = random.Random(4)
    for _ in range(3):
        steady, killed = start("import", shared), start("import", shared)
        time.sleep(chance.uniform(0.8, 2.0))
        killed.kill()
        killed.wait()
        finish(steady)
    finish(start("import", shared))
    import_(Numbers(0), tmp_path / "whole.lance")
    columns = ["image_id", "title"]
    assert content(shared, columns).equals(content(tmp_path / "whole.lance", columns))


@pytest.mark.slow
def test_of_processes_that_make_one_catalog_at_once_none_loses_what_another_added(tmp_path: Path) -> None:
    code = (
        "import sys; from commoncanvas.catalog import Catalog; from commoncanvas.table.schema import to_batch\n"
        "uri, go, name = sys.argv[1:]\n"
        "import os, time\n"
        "while not os.path.exists(go): time.sleep(0.001)\n"
        "for n in range(20):\n"
        "    Catalog.open_or_create(f'{uri}-{n}').add([to_batch([{'image_id': f'a:{name}', 'source': 'a'}])])\n"
    )
    go = tmp_path / "go"
    words = [sys.executable, "-c", code, str(tmp_path / "c"), str(go)]
    makers = [subprocess.Popen([*words, name]) for name in "xyz"]
    time.sleep(2)
    go.touch()
    assert [maker.wait() for maker in makers] == [0, 0, 0]
    for n in range(20):
        ids = Catalog.open(f"{tmp_path / 'c'}-{n}").table(["image_id"])["image_id"].to_pylist()
        assert sorted(ids) == ["a:x", "a:y", "a:z"]


@pytest.mark.heavy
@pytest.mark.timeout(1500)
def test_import_fetch_curate_and_takedown_killed_twenty_times_each_lose_double_and_halve_nothing(
    tmp_path: Path,
) -> None:
    draw = random.Random(20)
    killed, whole = tmp_path / "killed.lance", tmp_path / "whole.lance"
    began = time.monotonic()
    finish(start("nothing", whole))
    start_up = time.monotonic() - began
    for what in ("import", "import-drawings", "fetch", "curate", "takedown"):
        if what == "takedown":
            ids = Catalog.open(whole).table(["image_id"], "fetch_status = 'ok'")["image_id"].to_pylist()
            taken = Catalog.open(whole).table(["image"], f"image_id IN ({listed(ids[::3])})")["image"]
            for uri in (killed, whole):
                Path(f"{uri}.ids").write_text(" ".join(ids[::3]))
        before = tmp_path / f"before-{what}"
        if killed.exists():
            shutil.copytree(killed, before)
        began = time.monotonic()
        finish(start(what, whole))
        seconds = time.monotonic() - began
        kills = 0
        while kills < 20:
            process = start(what, killed)
            time.sleep(draw.uniform(start_up * 0.8, seconds))
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
                kills += 1
            process.communicate(timeout=100)
            if (killed / "_versions").exists() and any((killed / "_versions").iterdir()):
                Catalog.open(killed).dataset.validate()
            if process.returncode == 0:  # all is done: kill it from the beginning once more
                assert same(killed, whole)
                shutil.rmtree(killed)
                if before.exists():
                    shutil.copytree(before, killed)
        finish(start(what, killed))
        assert same(killed, whole)
    assert saved_filters(killed) == saved_filters(whole)
    stay = b"".join(Catalog.open(whole).table(["image"], "image IS NOT NULL")["image"].to_pylist())
    middles = [image[len(image) // 2 :][:60] for image in taken.to_pylist()]
    gone = [middle for middle in middles if middle not in stay]  # some drawings have a twin
    assert len(gone) > 300
    files = [path.read_bytes() for path in killed.rglob("*") if path.is_file()]
    assert not any(middle in data for middle in gone for data in files)


def same(one: Path, other: Path) -> bool:
    columns = Catalog.open(other).schema.names
    return content(one, columns).equals(content(other, columns))
