"""Histograms as inline SVG, with the page's fonts and colours, and without another package."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

WIDTH, HEIGHT = 640, 190
_BOTTOM, _TOP = 24, 20
"""Pixels for the names under the bars, and for the figures above them."""
_CHARACTER = 7.0
"""Approximate width of a character in pixels."""


def histogram(bars: Sequence[tuple[str, int]], title: str) -> str:
    """(name, count) pairs -> SVG with one bar each, in the given order. `title` is for screen readers.

    Names and figures that would overlap are left out. Each bar shows both under the mouse pointer.
    """
    most = max((count for _, count in bars), default=0)
    step = WIDTH / max(len(bars), 1)
    floor = HEIGHT - _BOTTOM
    every = _every([name for name, _ in bars], step)
    figures = len(bars) * 4.6 * _CHARACTER <= WIDTH
    parts = [
        f'<svg class="histogram" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">',
        f'<line x1="0" x2="{WIDTH}" y1="{floor + 0.5}" y2="{floor + 0.5}"/>',
    ]
    for place, (name, count) in enumerate(bars):
        height = (floor - _TOP) * count / most if most else 0.0
        height = max(height, 1.0) if count else 0.0
        middle = step * (place + 0.5)
        parts.append(
            f'<g><title>{escape(name)}: {count:,}</title><rect x="{step * (place + 0.1):.2f}" '
            f'y="{floor - height:.2f}" width="{0.8 * step:.2f}" height="{height:.2f}"/>'
        )
        if count and (figures or count == most):
            parts.append(
                f'<text class="value" x="{middle:.2f}" y="{floor - height - 6:.2f}">{short(count)}</text>'
            )
        last = len(bars) - 1
        if place in (0, last) or (place % every == 0 and place + every <= last):
            parts.append(f'<text x="{middle:.2f}" y="{HEIGHT - 6}">{escape(name)}</text>')
        parts.append("</g>")
    return "".join([*parts, "</svg>"])


def short(count: int) -> str:
    """A count in at most four characters: 999, 1.2k, 12k, 3.4M."""
    if count < 1000:
        return str(count)
    for unit, size in (("k", 1e3), ("M", 1e6), ("G", 1e9)):
        if count < 999.5 * size or unit == "G":
            break
    return f"{count / size:.1f}{unit}" if count < 9.95 * size else f"{count / size:.0f}{unit}"


def window(
    years: Mapping[int, int], now: int, longest: int = 40, tail: float = 0.005
) -> list[tuple[str, int]]:
    """Years as bars without gaps, up to `now`. Years outside, as from a camera clock that was never set, are summed at
    the ends.

    At most `longest` years. The first years are left out if together they have less than a fraction `tail` of the
    images.
    """
    past = {year: count for year, count in years.items() if year <= now}
    later = sum(years.values()) - sum(past.values())
    bars: list[tuple[str, int]] = []
    if past:
        last, total, before = max(past), sum(past.values()), 0
        first = min(past)
        for year in sorted(past):
            first = year
            if last - year < longest and before + past[year] >= tail * total:
                break
            before += past[year]
        if before:
            bars.append((f"< {first}", before))
        bars += [(str(year), past.get(year, 0)) for year in range(first, last + 1)]
    return [*bars, (f"> {now}", later)] if later else bars


def trimmed(bars: Sequence[tuple[str, int]]) -> list[tuple[str, int]]:
    """`bars` without empty bars at the ends."""
    filled = [place for place, (_, count) in enumerate(bars) if count]
    return list(bars[filled[0] : filled[-1] + 1]) if filled else []


def _every(names: Sequence[str], step: float) -> int:
    """The step between names, so that they don't overlap."""
    longest = max(map(len, names), default=0) + 1
    return max(1, -(-int(longest * _CHARACTER) // max(int(step), 1)))
