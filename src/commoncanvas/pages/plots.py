"""Charts for the report, as SVG that follows the reader's light or dark colour scheme."""

from __future__ import annotations

import io
from collections.abc import Sequence

# Placeholder colours for matplotlib. `themed` replaces them by the page's colours.
INK, RULE, FAINT, LINE = "#010101", "#020202", "#030303", "#040404"
THEME = """<style>
:root { --ink: #5d6166; --rule: #e4e2dd; --faint: #b9d8cd; --line: #0b6b50 }
@media (prefers-color-scheme: dark) {
  :root { --ink: #a3a8ae; --rule: #2e3236; --faint: #2c5548; --line: #63d2a8 }
}
</style>"""
# A loss that falls by a larger factor is drawn on a logarithmic scale.
LOG_RATIO = 8.0


Points = Sequence[tuple[float, float]]


def loss_chart(points: Points, *, width: float = 5.0, height: float = 2.7) -> str:
    """(step, loss) pairs -> SVG text: losses as a faint line, their running mean as a strong line. Sizes in inches."""
    steps, losses = zip(*points, strict=True) if points else ((), ())
    smooth = list(zip(steps, running_mean(losses), strict=True))
    log = bool(losses) and min(losses) > 0 and max(losses) / min(losses) > LOG_RATIO
    return _chart([(points, FAINT, 0.9), (smooth, LINE, 2.0)], width, height, log)


def line_chart(points: Points, *, width: float = 5.0, height: float = 2.7) -> str:
    """(step, value) pairs -> SVG text with one strong line. Sizes in inches."""
    return _chart([(points, LINE, 2.0)], width, height, log=False)


def _chart(lines: Sequence[tuple[Points, str, float]], width: float, height: float, log: bool) -> str:
    """Lines, each with its colour and width in points. `log`: the scale is logarithmic."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt
    from matplotlib.ticker import LogLocator, NullLocator

    with plt.rc_context({"svg.fonttype": "path", "svg.hashsalt": "commoncanvas", "font.size": 10.5}):
        figure, axes = plt.subplots(figsize=(width, height), layout="constrained")
        for points, colour, thickness in lines:
            steps, values = zip(*points, strict=True) if points else ((), ())
            axes.plot(steps, values, color=colour, linewidth=thickness, solid_capstyle="round")
        if log:
            axes.set_yscale("log")
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.yaxis.set_major_formatter(lambda loss, _: f"{loss:g}")
            axes.yaxis.set_minor_locator(NullLocator())
        axes.set_xlabel("step", color=INK)
        axes.tick_params(which="both", length=0, colors=INK)
        axes.xaxis.set_major_formatter(lambda step, _: f"{step:,.0f}")
        axes.grid(axis="y", color=RULE, linewidth=0.8)
        axes.set_axisbelow(True)
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.spines["bottom"].set_color(RULE)
        axes.margins(x=0.01)
        drawn = io.StringIO()
        figure.savefig(drawn, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
        plt.close(figure)
    return themed(drawn.getvalue())


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
        svg = svg.replace(colour, f"var(--{name})")
    body = svg[svg.index("<svg") :]
    end_of_tag = body.index(">") + 1
    return body[:end_of_tag] + THEME + body[end_of_tag:]
