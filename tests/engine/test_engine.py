"""The local engine: a lazy map over threads."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from commoncanvas.core.errors import EngineError, MissingExtraError
from commoncanvas.engine import LocalEngine, ahead, engine_of

ENGINES = [LocalEngine(), LocalEngine(3)]
NAMES = ["inline", "threads"]


def double(item: int) -> int:
    return 2 * item


def fail_at_three(item: int) -> int:
    if item == 3:
        raise KeyError("three")
    return item


@pytest.mark.parametrize("engine", ENGINES, ids=NAMES)
def test_every_item_is_mapped_exactly_once(engine: LocalEngine) -> None:
    assert sorted(engine.map(double, range(50))) == [2 * item for item in range(50)]
    assert list(engine.map(double, [])) == []


@pytest.mark.parametrize("engine", ENGINES, ids=NAMES)
def test_an_exception_arrives_as_it_is_after_the_results_that_were_ready(engine: LocalEngine) -> None:
    results = []
    with pytest.raises(KeyError, match="three"):
        for result in engine.map(fail_at_three, range(1000)):
            results.append(result)
    assert {0, 1, 2} <= set(results)
    assert len(results) < 100


def test_no_more_than_a_few_items_are_started_ahead_of_the_caller() -> None:
    started: list[int] = []

    def start(item: int) -> int:
        started.append(item)
        return item

    results = LocalEngine(2).map(start, range(1000))
    next(results)
    time.sleep(0.2)
    assert len(started) <= 4
    results.close()
    assert len(started) <= 4


def test_threads_really_run_side_by_side() -> None:
    together = threading.Barrier(2, timeout=5)
    list(LocalEngine(2).map(lambda item: together.wait(), [0, 1]))


def test_an_engine_without_workers_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        LocalEngine(0)


def test_an_engine_is_found_by_its_name_and_what_it_lacks_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    mine = LocalEngine(2)
    assert engine_of(mine) is mine
    assert isinstance(engine_of("local"), LocalEngine)
    with pytest.raises(EngineError, match="engine 'spark' is not one of: local, ray"):
        engine_of("spark")
    with pytest.raises(EngineError, match="workers 3 is only for --engine ray"):
        engine_of("local", workers=3)
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"needs ray; pip install 'commoncanvas\[ray\]'"):
        engine_of("ray")


def test_the_command_line_does_not_wait_for_ray() -> None:
    code = "import sys, commoncanvas.cli; sys.exit('ray' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_items_made_ahead_come_in_order_and_an_error_comes_after_them() -> None:
    def items() -> Iterator[int]:
        yield from range(100)
        raise ZeroDivisionError("in the source")

    taken = []
    with pytest.raises(ZeroDivisionError, match="in the source"):
        for item in ahead(items()):
            taken.append(item)
    assert taken == list(range(100))


def test_no_more_than_so_many_are_made_ahead_and_none_after_the_reader_left() -> None:
    made = []

    def items() -> Iterator[int]:
        for item in range(1000):
            made.append(item)
            yield item

    reader = ahead(items(), depth=2)
    assert next(reader) == 0
    time.sleep(0.3)
    assert len(made) <= 5
    reader.close()
    count = len(made)
    time.sleep(0.3)
    assert len(made) == count
