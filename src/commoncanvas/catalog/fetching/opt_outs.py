"""Opt-outs: headers by which a server says that no model may learn from an image."""

from __future__ import annotations

_ROBOTS_NAMES = ("*", "commoncanvas")
_NO_LEARNING = ("noai", "noimageai")
# Directives with a value: the text before their colon is not the name of a crawler.
_ROBOTS_VALUES = ("unavailable_after", "max-snippet", "max-image-preview", "max-video-preview")


def opts_out(values: list[str]) -> str | None:
    """The X-Robots-Tag directive that forbids training on an image, if it is for everyone or for us; else None."""
    for value in values:
        ours = True
        for directive in value.lower().split(","):
            name, colon, rest = directive.partition(":")
            if colon and name.strip() not in _ROBOTS_VALUES:
                ours = name.strip() in _ROBOTS_NAMES
                directive = rest
            if ours and directive.strip() in _NO_LEARNING:
                return directive.strip()
    return None
