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
:root { --ink: #5d6166; --rule: #e4e2dd; --faint: #b9d8cd; --line: #0b6b50 }
@media (prefers-color-scheme: dark) {
  :root { --ink: #a3a8ae; --rule: #2e3236; --faint: #2c5548; --line: #63d2a8 }
}
</style>"""
# A loss that falls by a larger factor is drawn on a logarithmic scale.
LOG_RATIO = 8.0


def loss_chart(points: Sequence[tuple[float, float]], *, width: float = 5.0, height: float = 2.7) -> str:
    """(step, loss) pairs -> SVG text: losses as a faint line, their running mean as a strong line. Sizes in inches."""
    return themed(_losses(points, (width, height), {colour: colour for colour in LIGHT}, "svg").decode())


def loss_png(
    points: Sequence[tuple[float, float]],
    validation: Sequence[tuple[float, float]] = (),
    *,
    width: float = 7.0,
    height: float = 3.2,
) -> bytes:
    """The same as a PNG file, on white. `validation`: (step, loss) of held-out images, as dots on a thin line."""
    return _losses(points, (width, height), LIGHT, "png", validation)


def _losses(
    points: Sequence[tuple[float, float]],
    inches: tuple[float, float],
    colours: Mapping[str, str],
    form: str,
    validation: Sequence[tuple[float, float]] = (),
) -> bytes:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt
    from matplotlib.ticker import LogLocator, NullLocator

    steps, losses = zip(*points, strict=True) if points else ((), ())
    with plt.rc_context({"svg.fonttype": "path", "svg.hashsalt": "commoncanvas", "font.size": 10.5}):
        figure, axes = plt.subplots(figsize=inches, layout="constrained")
        axes.plot(steps, losses, color=colours[FAINT], linewidth=0.9)
        axes.plot(steps, running_mean(losses), color=colours[LINE], linewidth=2.0, solid_capstyle="round")
        if validation:
            axes.plot(*zip(*validation, strict=True), "o-", color=colours[INK], markersize=4, linewidth=0.9)
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
    svg = {"transparent": True, "metadata": {"Date": None, "Creator": None}}
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
        svg = svg.replace(colour, f"var(--{name})")
    body = svg[svg.index("<svg") :]
    end_of_tag = body.index(">") + 1
    return body[:end_of_tag] + THEME + body[end_of_tag:]
