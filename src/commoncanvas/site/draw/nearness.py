"""How near a training image is, in words. Pure."""

from __future__ import annotations

from commoncanvas.core.numbers import figure
from commoncanvas.memorisation.finder import Found

FEW = 0.05
"""Per cent that differ from 0 or 100 by less are rounded to them, which would say too much."""


def compared(found: Found) -> str:
    """What the percentile says, as the end of a sentence about the training image."""
    share = found.percentile
    if share >= 100 - FEW:
        return "nearer than any picture that the model never saw is to its nearest training image"
    if share <= FEW:
        return "no nearer than pictures that the model never saw are to theirs"
    return (
        f"nearer than {share:.1f} % of pictures that the model never saw are to their nearest training image"
    )


def note(found: Found) -> str:
    """Distance and percentile."""
    words = f"distance {figure(found.distance)}, percentile {found.percentile:.1f}"
    return f"As near as a copy: {words}" if found.copy else words.capitalize()
