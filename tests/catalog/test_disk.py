"""Where a disk is full or can't be written to: the place is named, and what to do; the next run finishes the work."""

from __future__ import annotations

import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from commoncanvas.catalog import Catalog, save_filter, takedown
from commoncanvas.core.errors import CatalogError
from commoncanvas.core.files import why, with_remedy
from commoncanvas.table.lance_errors import reason
from commoncanvas.table.schema import to_batch

FREE = "free space there, or choose a larger disk, and run it again"
WRITABLE = "make that place writable, or choose another"


@contextmanager
def full_disk() -> Iterator[None]:
    """No file can grow."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    made = Catalog.create(tmp_path / "c.lance")
    made.add([to_batch([{"image_id": f"x:{number}", "source": "x"} for number in range(3)])])
    return made


def test_a_takedown_on_a_full_disk_changes_nothing_and_the_next_one_does_it(catalog: Catalog) -> None:
    with pytest.raises(CatalogError) as raised, full_disk():
        takedown(catalog, id=["x:1"], reason="asked")
    said = str(raised.value)
    assert said.startswith(f"{catalog.uri}/_commoncanvas/tombstones/")
    assert said.endswith(f" can't be written: file too large; {FREE}")
    assert not list(Path(catalog.uri).rglob("*.part"))
    assert Catalog.open(catalog.uri).count() == 3
    assert takedown(catalog, id=["x:1"], reason="asked").rows == 1
    assert Catalog.open(catalog.uri).count() == 2


def test_a_filter_and_columns_that_can_t_be_written_are_one_line(catalog: Catalog) -> None:
    with pytest.raises(CatalogError, match=f"filter c can't be saved: .*; {FREE}"), full_disk():
        save_filter(catalog, "c", "license IS NOT NULL")
    from commoncanvas.table.schema import STATED

    with pytest.raises(CatalogError, match=f"columns can't be added: .*; {FREE}") as raised, full_disk():
        catalog.add_columns(STATED)
    assert ".rs:" not in str(raised.value)
    catalog.add_columns(STATED)
    assert catalog.count() == 3


@pytest.mark.parametrize(
    ("said", "remedy"),
    [
        ("LanceError(IO): No space left on device (os error 28), /home/x/lance/src/a.rs:1:2", FREE),
        ("LanceError(IO): Generic LocalFileSystem error: Unable to copy data to file: File too large", FREE),
        ("LanceError(IO): Disk quota exceeded (os error 122)", FREE),
        ('LanceError(IO): Read-only file system (os error 30) at path "/a"', WRITABLE),
        ("LanceError(IO): Permission denied (os error 13)", WRITABLE),
        ("LanceError(IO): Connection reset", None),
    ],
)
def test_what_lance_says_of_a_disk_ends_with_what_to_do(said: str, remedy: str | None) -> None:
    shown = reason(OSError(said))
    assert "LanceError" not in shown
    assert ".rs" not in shown
    assert shown.endswith(f"; {remedy}") if remedy else ";" not in shown


def test_the_system_s_errors_end_with_what_to_do() -> None:
    assert why(OSError(28, "x", "/a")) == f"no space left on device; {FREE}"
    assert why(PermissionError(13, "x")) == f"permission denied; {WRITABLE}"
    assert why(FileNotFoundError(2, "x")) == "no such file or directory"
    assert why(OSError("anything")) == with_remedy("anything") == "anything"
    assert with_remedy(f"no space left on device; {FREE}") == f"no space left on device; {FREE}"
