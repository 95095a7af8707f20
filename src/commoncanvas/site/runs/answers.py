"""What programs and the page's script get of a run, as JSON."""

from __future__ import annotations

import numpy as np
from pydantic import BaseModel

from commoncanvas.core.text import visible
from commoncanvas.site.runs.curve import COUNT, FIRST, HIGH, LAST, LOW, SMOOTH, SPANS, VALUE, Curve
from commoncanvas.site.runs.figures import about
from commoncanvas.site.runs.follow import Follower
from commoncanvas.site.runs.state import State

DIGITS = 7
FIRST_FIGURES = ("loss", "validation_loss", "learning_rate", "grad_norm", "images_per_s", "peak_memory_gb")


class CurveAnswer(BaseModel):
    """A part of a curve: it replaces what came from bucket `start` on. A list for each column, one number a bucket;
    `smooth` has one such list for each of `spans`, or none if smoothing would mislead.
    """

    title: str
    unit: str
    auto_log: bool
    start: int
    first: list[int]
    last: list[int]
    low: list[float]
    high: list[float]
    value: list[float]
    points: list[int]
    smooth: list[list[float]]


class RunAnswer(BaseModel):
    """One run. `state` is running, finished, stopped or waiting; times are in seconds. To get only what is new, send
    `after=lines` and `version` of the last answer. If the answer's `version` is another, it has everything. `complete`
    is false if a long log has not been read to its end yet.
    """

    name: str
    state: str
    why: str
    step: int | None
    steps: int | None
    steps_per_s: float | None
    left_s: float | None
    age_s: float | None
    lines: int
    version: str
    complete: bool
    spans: list[int]
    curves: dict[str, CurveAnswer]


class RunsAnswer(BaseModel):
    """All runs by name, with their state."""

    runs: dict[str, str]


def run_answer(name: str, state: State, follower: Follower, version: str, after: int) -> RunAnswer:
    """The run, with what came after a line if the client has `version`."""
    with follower.reading():
        line = after if version == follower.version else 0
        return RunAnswer(
            name=visible(name),
            state=state.word,
            why=state.why,
            step=state.step,
            steps=state.steps,
            steps_per_s=state.steps_per_s,
            left_s=state.left_s,
            age_s=state.age_s,
            lines=follower.lines,
            version=follower.version,
            complete=follower.complete,
            spans=list(SPANS),
            curves={
                visible(figure): _curve(figure, curve, line)
                for figure, curve in ordered(follower.curves).items()
            },
        )


def ordered(curves: dict[str, Curve]) -> dict[str, Curve]:
    """What people look at first comes first."""

    def rank(name: str) -> int:
        return FIRST_FIGURES.index(name) if name in FIRST_FIGURES else len(FIRST_FIGURES)

    return {name: curves[name] for name in sorted(curves, key=rank)}


def _curve(name: str, curve: Curve, line: int) -> CurveAnswer:
    figure = about(name)
    start, rows = curve.after(line)
    columns = rows.T

    def whole(column: int) -> list[int]:
        found: list[int] = columns[column].astype(np.int64).tolist()
        return found

    def short(column: int) -> list[float]:
        return [float(f"{value:.{DIGITS}g}") for value in columns[column]]

    return CurveAnswer(
        title=visible(figure.title),
        unit=figure.unit,
        auto_log=figure.auto_log,
        start=start,
        first=whole(FIRST),
        last=whole(LAST),
        low=short(LOW),
        high=short(HIGH),
        value=short(VALUE),
        points=whole(COUNT),
        smooth=[short(SMOOTH + number) for number in range(len(SPANS) if figure.noisy else 0)],
    )
