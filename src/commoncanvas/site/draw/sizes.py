"""Sizes that a page offers. Pure."""

from __future__ import annotations

LARGEST_RATIO = 2.0
LEAST_AREA = 0.6
"""Of the model's own: it learned from images of that size, and draws much smaller ones badly."""
MOST = 12


def sizes(own: int, step: int, most_pixels: int) -> list[str]:
    """`WIDTHxHEIGHT`, the model's own first, then by shape and area: multiples of `step`, at most `most_pixels`."""
    sides = range(step, int((LARGEST_RATIO * most_pixels) ** 0.5) + 1, step)
    found = [
        (width, height)
        for width in sides
        for height in sides
        if LEAST_AREA * own * own <= width * height <= most_pixels
        and max(width, height) <= LARGEST_RATIO * min(width, height)
        and (width, height) != (own, own)
    ]
    # The largest of each side length, so that a list of many steps stays short.
    found.sort(key=lambda pair: (-pair[0] * pair[1], -pair[0]))
    chosen: dict[float, tuple[int, int]] = {}
    for width, height in found:
        chosen.setdefault(round(width / height, 1), (width, height))
    rest = sorted(list(chosen.values())[:MOST], key=lambda pair: (pair[0] / pair[1], pair))
    return [f"{width}x{height}" for width, height in ((own, own), *rest)]
