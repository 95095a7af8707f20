"""A line with a band around it, as inline SVG: a share that becomes known as more is counted."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from commoncanvas.pages.histogram import short

WIDTH, HEIGHT = 640, 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 14, 12, 26
"""Pixels around the plot, for the figures of the axes."""


def band_chart(points: Sequence[tuple[int, float, float, float]], title: str) -> str:
    """(count, share, low, high) of shares -> SVG, with a line at one half. `title` is for screen readers."""
    last = points[-1][0] if points else 1
    room = (WIDTH - _LEFT - _RIGHT, HEIGHT - _TOP - _BOTTOM)

    def at(count: int, share: float) -> str:
        return f"{_LEFT + room[0] * count / last:.1f},{_TOP + room[1] * (1 - share):.1f}"

    parts = [f'<svg class="band" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">']
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        height = _TOP + room[1] * (1 - share)
        kind = "half" if share == 0.5 else "grid"
        parts.append(
            f'<line class="{kind}" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{height:.1f}" y2="{height:.1f}"/>'
            f'<text x="{_LEFT - 8}" y="{height + 4:.1f}" text-anchor="end">{100 * share:.0f}\u00a0%</text>'
        )
    edge = [at(count, high) for count, _, _, high in points]
    edge += [at(count, low) for count, _, low, _ in reversed(points)]
    parts.append(f'<polygon points="{" ".join(edge)}"/>')
    parts.append(f'<polyline points="{" ".join(at(count, share) for count, share, _, _ in points)}"/>')
    for count in sorted({last // 2, last} - {0}):
        x = _LEFT + room[0] * count / last
        anchor = "end" if count == last else "middle"
        parts.append(f'<text x="{x:.1f}" y="{HEIGHT - 6}" text-anchor="{anchor}">{short(count)}</text>')
    parts.append(f'<text x="{_LEFT}" y="{HEIGHT - 6}">votes</text>')
    return "".join([*parts, "</svg>"])
