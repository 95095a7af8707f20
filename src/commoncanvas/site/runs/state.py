"""Whether a training goes on, and how fast. The log alone can't say for certain, so each state has its reason."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from commoncanvas.core.files import NAME as LOCK
from commoncanvas.core.numbers import duration
from commoncanvas.core.platforms import is_locked
from commoncanvas.release.model.log import LOG
from commoncanvas.site.runs.entries import entry_of, figures_of, last_lines

QUIET_S = 60.0
"""A training that has been silent for this long, and for QUIET_LINES times the usual, has ended."""
QUIET_LINES = 5
FEWEST = 2
SUFFIX = "-run"


@dataclass(frozen=True)
class State:
    """How a training stands. `word`: running, finished, stopped or waiting. `why`: how this is known.

    `line_s`: usual seconds between two lines. `age_s`: since the last line. `left_s`: until the last step.
    """

    word: str
    why: str
    step: int | None
    steps: int | None
    steps_per_s: float | None
    left_s: float | None
    age_s: float | None
    last: dict[str, float]
    lines: list[str]

    @property
    def share(self) -> float:
        return min(1.0, self.step / self.steps) if self.step is not None and self.steps else 0.0


def state_of(folder: Path, steps: int | None) -> State:
    """From the end of the log, the lock of a training on this machine, and the model folder beside."""
    lines = last_lines(folder / LOG)
    entries = [entry for line in lines if (entry := entry_of(line)) is not None]
    step = entries[-1]["step"] if entries else None
    line_s, step_s = _speed(entries)
    age_s = _age_s(folder / LOG)
    word, why = _word(folder, steps, step, line_s, age_s)
    left_s = (steps - step) * step_s if steps and step is not None and step_s and word == "running" else None
    last: dict[str, float] = {}
    for entry in entries:
        last |= figures_of(entry)
    return State(
        word=word,
        why=why,
        step=step,
        steps=steps,
        steps_per_s=1 / step_s if step_s else None,
        left_s=max(0.0, left_s) if left_s is not None else None,
        age_s=age_s,
        last=last,
        lines=[line.decode("utf-8", "replace") for line in lines],
    )


def _word(
    folder: Path, steps: int | None, step: int | None, line_s: float | None, age_s: float | None
) -> tuple[str, str]:
    model = folder.name.removesuffix(SUFFIX)
    complete = bool(steps) and step is not None and step >= (steps or 0)
    if is_locked(folder / LOCK):
        what = "all steps are done, and the model is being written" if complete else "it holds the run's lock"
        return "running", f"a process on this machine trains it: {what}"
    if complete:
        there = folder.name.endswith(SUFFIX) and folder.with_name(model).is_dir()
        return "finished", "all steps are done" + (
            f", and its model is in the folder {model}" if there else ""
        )
    if step is None or age_s is None:
        return "waiting", "its log has no line yet"
    usual = f"; lines come every {duration(line_s)}" if line_s else ""
    if age_s <= max(QUIET_S, QUIET_LINES * (line_s or 0)):
        return "running", f"its last line is {duration(age_s)} old{usual}"
    return "stopped", f"no line for {duration(age_s)}{usual.replace('come', 'came')}"


def _speed(entries: Sequence[dict[str, Any]]) -> tuple[float | None, float | None]:
    """Usual seconds from a line to the next, and for a step; None if too few lines say it.

    `seconds` of a line count from the start of its process: pairs of lines across a restart are left out.
    """
    timed = [(each["step"], each["seconds"]) for each in entries if "seconds" in figures_of(each)]
    pairs = [
        (later - earlier, after - before)
        for (before, earlier), (after, later) in pairwise(timed)
        if later > earlier and after > before
    ]
    if len(pairs) < FEWEST:
        return None, None
    seconds, steps = zip(*pairs, strict=True)
    return statistics.median(seconds), sum(seconds) / sum(steps)


def _age_s(log: Path) -> float | None:
    try:
        return max(0.0, time.time() - log.stat().st_mtime)
    except OSError:
        return None
