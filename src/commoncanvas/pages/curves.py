"""Plots of one figure against another, a line for each series, as SVG that follows the reader's colour scheme."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from commoncanvas.pages.plots import INK, RULE, saved, themed

SERIES = (
    ("#050501", "#0b6b50", "#63d2a8"),
    ("#050502", "#c2571a", "#f0975a"),
    ("#050503", "#3a5fb0", "#8fb0f5"),
    ("#050504", "#8b3a8f", "#d99be0"),
    ("#050505", "#7a6a12", "#d6c463"),
    ("#050506", "#5d6166", "#a3a8ae"),
)
"""matplotlib's placeholder of a colour, and the colour on light and on dark paper."""
MARKS = "osD^vP"
DASHES = ("-", (0, (5, 2)), (0, (1, 1.5)), (0, (5, 2, 1, 2)))
NEAREST_PT = 13.0
"""Least distance between two labels."""


class Dot(NamedTuple):
    """One point of a line. `label` stands beside it."""

    x: float
    y: float
    label: str


class Series(NamedTuple):
    """One line; `group` decides its colour and mark, `variant` its dashes."""

    name: str
    group: int
    variant: int
    dots: tuple[Dot, ...]


def curves_svg(series: Sequence[Series], x: str, y: str, *, width: float = 5.4, height: float = 4.0) -> str:
    """SVG text. `x`, `y`: what the axes are called. Sizes in inches."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    with plt.rc_context({"svg.fonttype": "path", "svg.hashsalt": "commoncanvas", "font.size": 10.5}):
        figure, axes = plt.subplots(figsize=(width, height), layout="constrained")
        for each in series:
            axes.plot(
                [dot.x for dot in each.dots],
                [dot.y for dot in each.dots],
                color=SERIES[each.group % len(SERIES)][0],
                marker=MARKS[each.group % len(MARKS)],
                linestyle=DASHES[each.variant % len(DASHES)],
                linewidth=2,
                markersize=5.5,
                clip_on=False,
            )
        axes.margins(x=0.08, y=0.1)
        _label(figure, axes, series)
        axes.set_xlabel(x, color=INK)
        axes.set_ylabel(y, color=INK)
        axes.tick_params(which="both", length=0, colors=INK)
        axes.grid(color=RULE, linewidth=0.8)
        axes.set_axisbelow(True)
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.spines["bottom"].set_color(RULE)
        return _coloured(themed(saved(figure, "svg").decode()))


def _label(figure: Any, axes: Any, series: Sequence[Series]) -> None:
    """Write the labels, but not where one would be over another."""
    figure.draw_without_rendering()
    written: list[tuple[float, float]] = []
    for each in series:
        for dot in each.dots:
            place = axes.transData.transform((dot.x, dot.y)) * 72 / figure.dpi
            if any(
                abs(place[0] - x) < 1.6 * NEAREST_PT and abs(place[1] - y) < NEAREST_PT for x, y in written
            ):
                continue
            written.append((place[0], place[1]))
            axes.annotate(
                dot.label,
                (dot.x, dot.y),
                xytext=(6, 5),
                textcoords="offset points",
                color=SERIES[each.group % len(SERIES)][0],
                fontsize=9,
            )


def _coloured(svg: str) -> str:
    for number, (placeholder, _, _) in enumerate(SERIES):
        svg = svg.replace(placeholder, f"var(--series-{number})")
    return svg


def colours_css() -> str:
    """The colours of `curves_svg` as CSS variables of the page."""
    light, dark = (
        " ".join(f"--series-{number}: {each[which]};" for number, each in enumerate(SERIES))
        for which in (1, 2)
    )
    return f":root {{ {light} }}\n@media (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}"
