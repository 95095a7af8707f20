"""The plot of a study of scarcity: held-out FD and retrieval by the number of images, with their bounds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from commoncanvas.pages.plots import FAINT, INK, LIGHT, LINE, RULE, saved, themed

if TYPE_CHECKING:
    from commoncanvas.studies.result import Row, Scarcity

WIDTH, HEIGHT = 9.6, 3.9
NEAREST = 0.09
"""Least distance between the labels of two ticks, as a share of the axis."""
NOISE_WITHIN = 2.5
"""Noise is shown if its FD is at most this many times the models' worst. A larger one would hide their differences."""


def scarcity_svg(study: Scarcity) -> str:
    """SVG text that follows the reader's light or dark scheme."""
    return themed(_drawn(study, {colour: colour for colour in LIGHT}, "svg").decode())


def scarcity_png(study: Scarcity) -> bytes:
    return _drawn(study, LIGHT, "png")


def _drawn(study: Scarcity, colours: dict[str, str], form: str) -> bytes:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    with plt.rc_context({"svg.fonttype": "path", "svg.hashsalt": "commoncanvas", "font.size": 10.5}):
        figure, (left, right) = plt.subplots(
            1, 2, figsize=(WIDTH, HEIGHT), layout=ConstrainedLayoutEngine(wspace=0.06)
        )
        _distance(left, study, colours)
        _retrieval(right, study, colours)
        several = study.seeds > 1
        _finish(left, study.rows, "bars: deviation between seeds" if several else "", colours)
        _finish(
            right, study.rows, f"bars: {'deviation between seeds' if several else '95 % confidence'}", colours
        )
        return saved(figure, form)


def _distance(axes: Any, study: Scarcity, colours: dict[str, str]) -> None:
    axes.set_title("FD of held-out prompts, lower is better", loc="left", color=colours[INK], fontsize=11)
    worst = _plot(axes, study.rows, "fd_heldout", colours)
    floor, noise = study.held_out("fd_reconstruction"), study.held_out("fd_noise")
    if floor is not None:
        _bound(axes, floor, f"autoencoder\nalone {floor:.0f}", colours)
    if noise is not None and worst and noise <= NOISE_WITHIN * worst:
        _bound(axes, noise, f"noise {noise:.0f}", colours)
    axes.margins(y=0.12)


def _retrieval(axes: Any, study: Scarcity, colours: dict[str, str]) -> None:
    axes.set_title(
        "Retrieval of held-out prompts, higher is better", loc="left", color=colours[INK], fontsize=11
    )
    _plot(axes, study.rows, "retrieval_heldout", colours)
    for row in study.rows:
        if interval := row.interval():
            axes.plot([row.images] * 2, interval, color=colours[LINE], linewidth=1.2, alpha=0.6)
    chance = study.held_out("retrieval_chance")
    if chance is not None:
        _bound(axes, chance, f"chance\n{100 * chance:.1f} %", colours)
    axes.yaxis.set_major_formatter(lambda share, _: f"{100 * share:g} %")
    axes.margins(y=0.12)
    axes.set_ylim(bottom=0)


def _plot(axes: Any, rows: Sequence[Row], figure: str, colours: dict[str, str]) -> float | None:
    """Draw a figure's means, its deviation between seeds, and each seed in a light colour; returns the largest mean."""
    found = [(row, spread) for row in rows if (spread := row.spread(figure))]
    for row, _ in found:
        if len(row.points) > 1:
            values = [point.figures[figure] for point in row.points]
            axes.plot([row.images] * len(values), values, "o", color=colours[FAINT], markersize=5, zorder=2)
    images = [row.images for row, _ in found]
    means = [spread.mean for _, spread in found]
    bars = [spread.deviation or 0.0 for _, spread in found]
    axes.errorbar(
        images,
        means,
        yerr=bars if any(bars) and figure != "retrieval_heldout" else None,
        color=colours[LINE],
        marker="o",
        markersize=6,
        linewidth=2,
        elinewidth=1.2,
        zorder=3,
        clip_on=False,
    )
    return max(means, default=None)


def _bound(axes: Any, value: float, name: str, colours: dict[str, str]) -> None:
    axes.axhline(value, color=colours[INK], linewidth=1, linestyle=(0, (4, 3)), zorder=1)
    axes.annotate(
        name,
        (1, value),
        xycoords=("axes fraction", "data"),
        xytext=(4, 0),
        textcoords="offset points",
        va="center",
        color=colours[INK],
        fontsize=9.5,
    )


def _finish(axes: Any, rows: Sequence[Row], bars: str, colours: dict[str, str]) -> None:
    from matplotlib.ticker import FixedLocator, NullLocator

    axes.set_xscale("log")
    axes.margins(x=0.08)
    axes.xaxis.set_major_locator(FixedLocator([row.images for row in rows]))
    axes.xaxis.set_minor_locator(NullLocator())
    people = max((row.creators for row in rows), default=0) > 1
    axes.set_xticklabels(_names(rows, people))
    named = "share, images and creators learned from" if people else "share and number of images"
    axes.set_xlabel(f"{named} ({bars})" if bars else named, color=colours[INK])
    axes.tick_params(which="both", length=0, colors=colours[INK])
    axes.grid(axis="y", color=colours[RULE], linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(colours[RULE])


def _names(rows: Sequence[Row], people: bool) -> list[str]:
    """A label for each tick, beginning with the largest; empty if it would overlap the label before."""
    places = [math.log(row.images) for row in rows]
    room = NEAREST * (places[-1] - places[0]) if rows else 0.0
    names: list[str] = []
    last = math.inf
    for row, place in reversed(list(zip(rows, places, strict=True))):
        shown = last - place > room
        last = place if shown else last
        creators = f"\n{row.creators:,.0f}" if people else ""
        names.append(f"{100 * row.fraction:g} %\n{row.images:,}{creators}" if shown else "")
    return names[::-1]
