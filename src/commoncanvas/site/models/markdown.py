"""Markdown of strangers, such as model cards, as HTML: no HTML of its own, links and pictures only where they may lead.

https://spec.commonmark.org/0.31.2/, with tables.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from markupsafe import Markup

from commoncanvas.core.errors import MissingExtraError
from commoncanvas.core.text import visible, web_address

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

Place = Callable[[str], str | None]
"""A path in the model's folder -> an address of this server, None if nothing is served there."""
_FRONT = re.compile(r"\A\ufeff?---\s*\n.*?\n---\s*(\n|\Z)", re.DOTALL)


def rendered(text: str, document: str, link: Place, picture: Place) -> Markup:
    """The HTML of the Markdown file `document` of a folder. Its headings come one level lower.

    Links lead to web addresses, or where `link` says; others become text. Pictures come from where `picture` says;
    of others only the description stays. Raises MissingExtraError.
    """
    parser = _parser()
    tokens = parser.parse(visible(_FRONT.sub("", text)))
    folder = posixpath.dirname(document)
    for token in tokens:
        if token.tag in ("h1", "h2", "h3", "h4", "h5"):
            token.tag = f"h{int(token.tag[1]) + 1}"
        if "text-align:right" in str(token.attrs.pop("style", "")):  # no page has an inline style
            token.attrs["class"] = "right"
        token.children = list(_inline(token.children or (), folder, link, picture))
    return Markup(parser.renderer.render(tokens, parser.options, {}))


def _inline(tokens: Iterable[Token], folder: str, link: Place, picture: Place) -> Iterable[Token]:
    kept = True
    for token in tokens:
        if token.type == "link_open":
            target = _target(str(token.attrGet("href") or ""), folder, link)
            kept = target is not None
            if target is not None:
                token.attrs = {"href": target, "rel": "noopener nofollow"}
        if token.type in ("link_open", "link_close") and not kept:
            continue
        if token.type == "image":
            where = _inside(str(token.attrGet("src") or ""), folder)
            place = None if where is None else picture(where)
            if place is None:
                token.type, token.tag, token.children = "text", "", None
            else:
                token.attrs = {"src": place, "alt": "", "loading": "lazy"}
        yield token


def _target(href: str, folder: str, link: Place) -> str | None:
    if web_address(href) is not None:
        return href
    where = _inside(href, folder)
    return None if where is None else link(where)


def _inside(href: str, folder: str) -> str | None:
    """The path in the model's folder that a relative link of a file in `folder` means; None for another address."""
    try:
        parts = urlsplit(href)
    except ValueError:
        return None
    if parts.scheme or parts.netloc or not parts.path:
        return None
    return posixpath.normpath(posixpath.join(folder, unquote(parts.path)))


@lru_cache(maxsize=1)
def _parser() -> MarkdownIt:
    try:
        from markdown_it import MarkdownIt
    except ImportError as error:
        raise MissingExtraError(
            "model cards need markdown-it-py: pip install 'commoncanvas[serve]'"
        ) from error
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    parser.add_render_rule("table_open", _table_open)
    parser.add_render_rule("table_close", _table_close)
    return parser


def _table_open(*_: object) -> str:
    # On a phone a wide table scrolls in its own box, with the keyboard too.
    return '<div class="wide" role="region" aria-label="Table" tabindex="0"><table>\n'


def _table_close(*_: object) -> str:
    return "</table></div>\n"
