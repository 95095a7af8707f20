"""The local engine: a lazy map over threads or processes."""

from __future__ import annotations

import os
import threading
import time

import pytest

from commoncanvas.engine import LocalEngine

ENGINES = [LocalEngine(), LocalEngine(3), LocalEngine(2, processes=True)]
NAMES = ["inline", "threads", "processes"]


def double(item: int) -> int:
    return 2 * item


def process_of(item: int) -> int:
    time.sleep(0.05)
    return os.getpid()


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


def test_processes_are_others_than_this_one_and_more_than_one() -> None:
    pids = set(LocalEngine(2, processes=True).map(process_of, range(20)))
    assert len(pids) == 2
    assert os.getpid() not in pids


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
