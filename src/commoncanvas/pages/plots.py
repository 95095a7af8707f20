"""Charts: as SVG that follows the reader's light or dark colour scheme, or as PNG on white."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

# Placeholder colours for matplotlib. `themed` replaces them by the page's colours.
INK, RULE, FAINT, LINE = "#010101", "#020202", "#030303", "#040404"
LIGHT = {INK: "#5d6166", RULE: "#e4e2dd", FAINT: "#b9d8cd", LINE: "#0b6b50"}
"""Colours for files that can't follow the reader's light or dark scheme."""
DPI = 200
THEME = """<style>
:root { --plot-ink: #5d6166; --plot-rule: #e4e2dd; --plot-faint: #b9d8cd; --plot-line: #0b6b50 }
@media (prefers-color-scheme: dark) {
  :root { --plot-ink: #a3a8ae; --plot-rule: #2e3236; --plot-faint: #2c5548; --plot-line: #63d2a8 }
}
</style>"""
# A loss that falls by a larger factor is drawn on a logarithmic scale.
LOG_RATIO = 8.0
Points = Sequence[tuple[float, float]]
Line = tuple[Points, str, float, str]
"""(x, y) pairs, colour, width in points, matplotlib's style."""


def loss_chart(points: Points, *, width: float = 5.0, height: float = 2.7) -> str:
    """(step, loss) pairs -> SVG text: losses as a faint line, their running mean as a strong line. Sizes in inches."""
    return _svg(_losses(points), (width, height))


def line_chart(points: Points, *, width: float = 5.0, height: float = 2.7) -> str:
    """(step, value) pairs -> SVG text with one strong line. Sizes in inches."""
    return _svg([(points, LINE, 2.0, "-")], (width, height))


def loss_png(points: Points, validation: Points = (), *, width: float = 7.0, height: float = 3.2) -> bytes:
    """Like `loss_chart`, but a PNG file, on white. `validation`: (step, loss) of held-out images, as dots on a thin
    line.
    """
    lines = [*_losses(points), *([(validation, INK, 0.9, "o-")] if validation else [])]
    return _chart(lines, (width, height), LIGHT, "png")


def _losses(points: Points) -> list[Line]:
    smooth = running_mean([loss for _, loss in points])
    return [
        (points, FAINT, 0.9, "-"),
        ([(step, mean) for (step, _), mean in zip(points, smooth, strict=True)], LINE, 2.0, "-"),
    ]


def _svg(lines: Sequence[Line], inches: tuple[float, float]) -> str:
    return themed(_chart(lines, inches, {colour: colour for colour in LIGHT}, "svg").decode())


def _chart(
    lines: Sequence[Line], inches: tuple[float, float], colours: Mapping[str, str], form: str
) -> bytes:
    """A plot of lines by step. Losses, which have a faint line, may get a logarithmic scale."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt
    from matplotlib.ticker import LogLocator, NullLocator

    losses = [value for points, colour, *_ in lines if colour == FAINT for _, value in points]
    with plt.rc_context({"svg.fonttype": "path", "svg.hashsalt": "commoncanvas", "font.size": 10.5}):
        figure, axes = plt.subplots(figsize=inches, layout="constrained")
        for points, colour, thickness, style in lines:
            steps, values = zip(*points, strict=True) if points else ((), ())
            axes.plot(
                steps,
                values,
                style,
                color=colours[colour],
                linewidth=thickness,
                markersize=4,
                solid_capstyle="round",
            )
        if losses and min(losses) > 0 and max(losses) / min(losses) > LOG_RATIO:
            axes.set_yscale("log")
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.yaxis.set_major_formatter(lambda loss, _: f"{loss:g}")
            axes.yaxis.set_minor_locator(NullLocator())
        axes.set_xlabel("step", color=colours[INK])
        axes.tick_params(which="both", length=0, colors=colours[INK])
        axes.xaxis.set_major_formatter(lambda step, _: f"{step:,.0f}")
        axes.grid(axis="y", color=colours[RULE], linewidth=0.8)
        axes.set_axisbelow(True)
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.spines["bottom"].set_color(colours[RULE])
        axes.margins(x=0.01)
        return saved(figure, form)


def saved(figure: Any, form: str) -> bytes:
    """Close a figure of matplotlib and return it as a file, `svg` or `png`."""
    from matplotlib import pyplot as plt

    drawn = io.BytesIO()
    svg = {"transparent": True, "metadata": dict.fromkeys(("Date", "Creator", "Format", "Type"))}
    figure.savefig(drawn, format=form, **(svg if form == "svg" else {"dpi": DPI}))
    plt.close(figure)
    return drawn.getvalue()


def running_mean(values: Sequence[float], share: float = 0.06) -> list[float]:
    """The mean of each value and its neighbours. The window is a fraction `share` of all, shorter at the ends."""
    reach = int(len(values) * share / 2)
    means: list[float] = []
    for index in range(len(values)):
        near = min(reach, index, len(values) - 1 - index)
        window = values[index - near : index + near + 1]
        means.append(sum(window) / len(window))
    return means


def themed(svg: str) -> str:
    """matplotlib's SVG as an element of a page, with the page's four colours."""
    for colour, name in ((INK, "ink"), (RULE, "rule"), (FAINT, "faint"), (LINE, "line")):
        svg = svg.replace(colour, f"var(--plot-{name})")
    body = svg[svg.index("<svg") :]
    end_of_tag = body.index(">") + 1
    return body[:end_of_tag] + THEME + body[end_of_tag:]
