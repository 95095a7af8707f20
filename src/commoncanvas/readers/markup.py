"""Convert untrusted HTML to plain text, and find its first link to a page. No HTML is kept."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from urllib.parse import urljoin, urlsplit

MAX_CHARACTERS = 1_000_000

_UNSHOWN = frozenset(("script", "style", "template", "noscript", "head", "title"))
_BREAKS = frozenset(("br", "p", "div", "li", "ul", "ol", "table", "tr", "td", "th", "dd", "dt", "hr"))
_VOID = frozenset(("br", "hr", "img", "wbr", "input", "meta", "link"))


def plain(html: str, base: str) -> tuple[str | None, str | None]:
    """(visible text, address of the first web link); None for a missing one.

    Relative addresses are resolved against `base`. Only http and https links count, no `javascript:` or `mailto:`, and
    no links to pages that don't exist (MediaWiki's red links).
    """
    reader = _Reader(base)
    reader.feed(html[:MAX_CHARACTERS])
    reader.close()
    lines = (" ".join(line.split()) for line in "".join(reader.pieces).split("\n"))
    text = "\n".join(line for line in lines if line)
    return text or None, reader.link


class _Reader(HTMLParser):
    def __init__(self, base: str) -> None:
        super().__init__(convert_charrefs=True)
        self.base = base
        self.pieces: list[str] = []
        self.link: str | None = None
        self._hidden: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        if self._hidden or tag in _UNSHOWN or _is_hidden(attributes):
            if tag not in _VOID:
                self._hidden.append(tag)
            return
        if tag in _BREAKS:
            self.pieces.append("\n")
        if tag == "a" and self.link is None:
            self.link = _address(attributes.get("href"), self.base)

    def handle_endtag(self, tag: str) -> None:
        if tag in self._hidden:
            while self._hidden.pop() != tag:
                pass
        elif tag in _BREAKS and not self._hidden:
            self.pieces.append("\n")

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            # A line break in the source is a space on the page.
            self.pieces.append(re.sub(r"\s+", " ", data))


def _is_hidden(attributes: dict[str, str | None]) -> bool:
    """Whether an element is invisible: templates of Commons put machine-readable data into such elements."""
    return "hidden" in attributes or bool(re.search(r"display\s*:\s*none", attributes.get("style") or ""))


def _address(href: str | None, base: str) -> str | None:
    try:
        address = urljoin(base, (href or "#").strip())
        parts = urlsplit(address)
    except ValueError:
        return None
    red = "redlink=1" in parts.query
    if (
        parts.scheme not in ("http", "https")
        or not parts.hostname
        or red
        or (href or "#").strip().startswith("#")
    ):
        return None
    return address if re.fullmatch(r"\S+", address) else None
