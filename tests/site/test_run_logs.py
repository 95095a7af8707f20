"""A log is followed byte by byte while another process writes, breaks or replaces it, and its curves stay bounded."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some

from commoncanvas.site.runs import curve as curves
from commoncanvas.site.runs.answers import run_answer
from commoncanvas.site.runs.curve import COUNT, FIRST, HIGH, LAST, LINE, LOW, SMOOTH, SPANS, VALUE, Curve
from commoncanvas.site.runs.entries import entry_of, figures_of
from commoncanvas.site.runs.follow import Follower
from commoncanvas.site.runs.state import state_of
from tests.site.runs import entry, lines

VALUES = some.floats(-1e6, 1e6)


def added(values: list[float], pieces: list[int], most: int = 8) -> Curve:
    """A curve of at most `most` buckets, to which the values come in pieces."""
    made, start = Curve(), 0
    with mock.patch.object(curves, "MOST", most):
        for size in [*pieces, len(values)]:
            part = np.arange(start, min(len(values), start + size), dtype=float)
            made.add(part, np.array(values)[part.astype(int)], part + 1)
            start += len(part)
    return made


@given(some.lists(VALUES, min_size=1, max_size=200), some.lists(some.integers(0, 50), max_size=10))
def test_a_thinned_curve_keeps_extremes_and_the_mean_of_all_points(
    values: list[float], pieces: list[int]
) -> None:
    made = added(values, pieces).buckets
    assert len(made) <= 8 and made[:, COUNT].sum() == len(values)
    np.testing.assert_array_equal(made, added(values, []).buckets)
    ends = made[:, COUNT].cumsum().astype(int)
    for row, end in zip(made, ends, strict=True):
        part = values[end - int(row[COUNT]) : end]
        assert (row[LOW], row[HIGH], row[VALUE]) == (min(part), max(part), part[-1])
        assert (row[FIRST], row[LAST], row[LINE]) == (end - len(part), end - 1, end)
        for number, span in enumerate(SPANS):
            weights = (1 - 1 / span) ** np.arange(end)[::-1]
            mean = np.dot(weights, values[:end]) / weights.sum()
            assert row[SMOOTH + number] == pytest.approx(mean, rel=1e-6, abs=1e-3)


@given(some.lists(VALUES, min_size=2, max_size=100), some.data())
def test_steps_that_go_back_replace_what_came_after(values: list[float], data: some.DataObject) -> None:
    back = data.draw(some.integers(0, len(values) - 2))
    steps = np.concatenate([np.arange(len(values)), np.arange(back, len(values))]).astype(float)
    twice = Curve()
    twice.add(steps, np.array([*values, *values[back:]]), 1 + np.arange(len(steps), dtype=float))
    once = Curve()
    once.add(steps[: len(values)], np.array(values), 1 + np.arange(len(values), dtype=float))
    columns = [FIRST, LAST, LOW, HIGH, VALUE, COUNT]
    np.testing.assert_array_equal(twice.buckets[:, columns], once.buckets[:, columns])
    np.testing.assert_allclose(twice.buckets[:, SMOOTH:], once.buckets[:, SMOOTH:], rtol=1e-6, atol=1e-3)
    assert twice.version > once.version


LINES = some.one_of(
    some.fixed_dictionaries(
        {"step": some.integers(0, 30), "loss": VALUES}, optional={"validation/fd": VALUES}
    ).map(json.dumps),
    some.sampled_from(
        [
            "",
            "{",
            "[" * 5000,
            "null",
            '{"step": "1", "loss": 2}',
            '{"step": true, "loss": 2}',
            '{"step": -1, "loss": 2}',
            '{"step": 1e400, "loss": 2}',
            '{"step": 3, "loss": NaN, "grad_norm": Infinity, "threads": true, "notes": {"a": 1}}',
            '{"step": 4, "loss": ' + "9" * 400 + "}",
            '{"step": 5, "loss": ' + "9" * 5000 + "}",
            "\x00\u202e",
        ]
    ),
)


@given(some.lists(LINES, max_size=30), some.lists(some.integers(1, 400), max_size=30))
def test_a_log_that_grows_by_any_bytes_gives_the_curves_of_the_whole(
    written: list[str], pieces: list[int]
) -> None:
    content = "".join(line + "\n" for line in written).encode()
    with TemporaryDirectory() as folder, mock.patch.object(curves, "MOST", 8):
        log = Path(folder) / "log.jsonl"
        follower, client = Follower(log), Client(log.parent)
        start = 0
        for size in [*pieces, len(content) + 1]:
            with log.open("ab") as file:
                file.write(content[start : start + size])
            start += size
            follower.read()
            client.update(follower)
        whole = Follower(log)
        whole.read()
        assert follower.lines == whole.lines == len(written)
        assert follower.curves.keys() == whole.curves.keys()
        for name, each in whole.curves.items():
            np.testing.assert_array_equal(follower.curves[name].buckets, each.buckets)
            assert client.curves[name]["last"] == each.buckets[:, LAST].tolist()
            assert client.curves[name]["high"] == pytest.approx(each.buckets[:, HIGH], rel=1e-6)
        found = [entry_of(line.encode()) for line in written]
        assert set(whole.curves) == {name for each in found if each for name in figures_of(each)}


class Client:
    """What the page's script does with the answers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.version, self.lines = "", 0
        self.curves: dict[str, dict[str, list[Any]]] = {}

    def update(self, follower: Follower) -> int:
        """How many buckets the answer has."""
        answer = run_answer("a", state_of(self.folder, None), follower, self.version, self.lines)
        if answer.version != self.version:
            self.curves = {}
        for name, part in answer.curves.items():
            known = self.curves.setdefault(name, {"last": [], "high": []})
            for column, values in known.items():
                values[part.start :] = getattr(part, column) or values[part.start :]
        self.version, self.lines = answer.version, answer.lines
        return sum(len(part.last) for part in answer.curves.values())


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "log.jsonl"
    path.write_text(lines(entry(step) for step in range(10, 110, 10)))
    return path


def test_only_what_is_new_is_sent(log: Path) -> None:
    follower, client = Follower(log), Client(log.parent)
    follower.read()
    assert client.update(follower) == 60
    assert client.update(follower) == 0
    with log.open("a") as file:
        file.write(lines([entry(110)])[:-9])
    follower.read()
    assert client.update(follower) == 0
    with log.open("a") as file:
        file.write(lines([entry(110)])[-9:])
    follower.read()
    assert client.update(follower) == 6


@pytest.mark.parametrize("how", ["replaced", "rewritten in place", "removed"])
def test_a_log_that_a_resumed_training_replaced_is_read_again(log: Path, how: str) -> None:
    follower, client = Follower(log), Client(log.parent)
    follower.read()
    client.update(follower)
    anew = lines(entry(step, loss=7.0) for step in range(10, 160, 10))
    if how == "removed":
        log.unlink()
    elif how == "replaced":
        log.with_name("new").write_text(anew)
        log.with_name("new").replace(log)
    else:
        log.write_text(anew)
    follower.read()
    client.update(follower)
    if how == "removed":
        assert follower.lines == 0 and client.curves == {}
    else:
        assert client.curves["loss"]["high"] == [7.0] * 15


def test_a_line_without_end_is_skipped_and_the_next_is_read(log: Path) -> None:
    follower = Follower(log)
    with log.open("a") as file:
        file.write("x" * 5_000_000)
    follower.read()
    with log.open("a") as file:
        file.write("\n" + lines([entry(110)]))
    follower.read()
    assert follower.curves["loss"].buckets[-1, LAST] == 110 and follower.lines <= 12


def test_a_long_log_and_many_figures_need_bounded_memory(tmp_path: Path) -> None:
    """50,000 lines, and 2,000 figures that one line has each; read in several calls."""
    path = tmp_path / "log.jsonl"
    odd = [{"step": 1, f"figure {number}": 1.0} for number in range(2000)]
    path.write_text(lines([*(entry(step) for step in range(50_000)), *odd]))
    follower = Follower(path)
    tracemalloc.start()
    try:
        calls = 0
        while not follower.complete:
            follower.read(0.05)
            calls += 1
        kept, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert calls > 1 and follower.lines == 52_000
    assert len(follower.curves["loss"].buckets) <= curves.MOST and len(follower.curves) == 200
    assert kept < 3_000_000 and most < 60_000_000
