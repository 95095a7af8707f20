import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from commoncanvas.models import threads as cpu
from commoncanvas.models.threads import FIRST_WINDOW_S, Threads, Usage, threads, threads_beside, usage


@given(others=st.floats(0, 256), most=st.integers(1, 256))
def test_threads_are_at_least_one_at_most_all_and_fewer_the_more_others_use(others: float, most: int) -> None:
    count = threads_beside(others, most)
    assert 1 <= count <= most
    assert threads_beside(others + 1, most) <= count <= threads_beside(0, most) == most


@pytest.mark.parametrize(
    ("others", "count"),
    [(0.1, 2), (0.3, 2), (0.67, 1), (1.0, 1), (3.0, 1)],
)
def test_beside_one_busy_program_two_cores_get_one_thread(others: float, count: int) -> None:
    assert threads_beside(others, 2) == count
    assert threads_beside(others, 8) == 8 - round(others)


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Usage]]:
    """What `usage` gives next, a second later each time."""
    given = [Usage(0.0, 0.0, 0.0)]
    monkeypatch.setattr(cpu, "usage", lambda: given[-1])
    monkeypatch.setattr(time, "monotonic", lambda: given[-1].at)
    before = torch.get_num_threads()
    yield given
    torch.set_num_threads(before)


def test_threads_go_down_beside_a_busy_program_and_up_again_when_it_ends(
    measured: list[Usage], capsys: pytest.CaptureFixture[str]
) -> None:
    found = Threads(2)
    measured.append(Usage(1.0, 2.0, 1.0))  # of two busy cores, one was ours
    assert found.follow() == torch.get_num_threads() == 1
    assert found.others == pytest.approx(1.0)
    measured.append(Usage(2.0, 4.0, 2.0))
    assert found.follow() == 1
    said = capsys.readouterr().err
    assert said.count("other programs use 1.0 cores, so torch uses 1 of 2 threads") == 1
    measured.append(Usage(3.0, 5.0, 2.9))
    assert found.follow() == torch.get_num_threads() == 2


def test_the_use_of_cores_is_measured_once_a_window(measured: list[Usage]) -> None:
    found = Threads(2)
    measured.append(Usage(FIRST_WINDOW_S / 2, 9.0, 0.0))
    assert found.follow() == 2


def test_a_number_that_the_user_chose_stays(measured: list[Usage], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    threads.cache_clear()
    try:
        found = threads()
        measured.append(Usage(1.0, 2.0, 0.0))
        assert found.follow() == found.most == torch.get_num_threads()
    finally:
        threads.cache_clear()


def test_a_system_that_does_not_say_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu, "usage", lambda: None)
    assert Threads(4).follow() == 4


@pytest.mark.skipif(usage() is None, reason="only Linux says how busy its cores are")
def test_what_another_process_uses_is_seen_and_what_this_one_uses_is_not_counted() -> None:
    loop = "while True: pass"
    with subprocess.Popen([sys.executable, "-c", loop]) as other:
        try:
            first = usage()
            end = time.monotonic() + 0.5
            while time.monotonic() < end:
                pass
            second = usage()
        finally:
            other.kill()
    assert first and second
    assert second.own - first.own > 0.1
    assert second.cores - first.cores >= second.own - first.own + 0.1
