"""Text that strangers wrote, made safe to show: on a terminal, on a page, in a spreadsheet. Pure."""

from __future__ import annotations

import re
import unicodedata
from urllib.parse import quote

from commoncanvas.core.redact import redacted

SHOWN = "\ufffd"
"""What stands for a mark that is not shown."""
# Control characters (C0 without line feed, C1), which a terminal obeys; line separators, which some programs take for
# the end of a line; marks that change the direction of the text around them; annotations and the byte-order mark, which
# hide text; halves of surrogate pairs, which can't be written as UTF-8.
_UNSAFE = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff]"
)
_BREAKS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")
_ADDRESS = re.compile(r"https?://(\[[\da-f:.]+\]|[^\s\[])\S*", re.IGNORECASE)


def visible(text: str) -> str:
    """`text` with U+FFFD in place of each mark that a terminal, a page or the eye would obey; line feeds stay."""
    return _UNSAFE.sub(SHOWN, text)


def one_line(text: object, most: int | None = 300) -> str:
    """`visible` text on one line, of `most` characters at most, without the passwords of addresses in it."""
    return visible(redacted(" ".join(str(text).split())))[:most]


def clean(text: str | None) -> str | None:
    """A name or a title for people to read: one line, NFC, without unsafe marks, and without the passwords of addresses
    in it; None if nothing is left.
    """
    if text is None:
        return None
    normal = _BREAKS.sub(" ", unicodedata.normalize("NFC", text))
    return redacted(" ".join(_UNSAFE.sub("", normal).split())) or None


def counted(count: int, things: str) -> str:
    """`1 image`, `1,200 images`: `things` is the plural."""
    return f"{count:,} {things.removesuffix('s') if count == 1 else things}"


def web_address(url: str | None) -> str | None:
    """An http(s) address to show, without passwords and signatures, its unsafe marks percent-encoded (RFC 3987, section
    3.1); None for anything else, such as `javascript:` or a path on the importer's disk.
    """
    url = (url or "").strip()
    if not _ADDRESS.fullmatch(url):
        return None
    return _UNSAFE.sub(lambda mark: quote(mark[0], errors="replace"), redacted(url))


def escaped_json(text: str) -> str:
    """JSON with its unsafe marks as `\\u009b`: a terminal shows them, and a reader gets the same values."""
    return _UNSAFE.sub(lambda mark: f"\\u{ord(mark[0]):04x}", text)


# What begins a formula in a spreadsheet, the full-width forms of East Asian keyboards included: at the cell's begin, or
# after a semicolon, which separates cells where a comma is the decimal mark, or at the begin of a line.
# https://owasp.org/www-community/attacks/CSV_Injection
_BEGIN, _FORMULA = r"((?:^|[;\n])\s*)", r"('*[=+\-@＝＋－＠])"


def cell(text: str | None) -> str | None:
    """`text` as a CSV file may hold it: an apostrophe stands before what a spreadsheet would run as a formula."""
    return text and re.sub(_BEGIN + _FORMULA, r"\1'\2", visible(text))


def text_of_cell(cell: str) -> str | None:
    """What `cell` was given, if it had no unsafe mark; an empty cell was None."""
    return re.sub(f"{_BEGIN}'{_FORMULA}", r"\1\2", cell) or None


_LINKED = re.compile(r"://|www\.|@", re.IGNORECASE)


def markdown_cell(text: str | None) -> str:
    """`text` as one cell of a Markdown table, and nothing but text: no markup, and no link out of an address in it.

    Renderers of GitHub's Markdown make links of bare addresses, escaped or not, except in code.
    """
    shown = clean(text) or ""
    if not _LINKED.search(shown):
        return re.sub(r"([\\`*_{}\[\]<>()#!|~&])", r"\\\1", shown)
    return markdown_code(shown).replace("|", r"\|")


def markdown_code(text: str) -> str:
    """`text` as code within a line of Markdown."""
    shown = one_line(text, None)
    fence = "`" * (1 + max(map(len, re.findall("`+", shown)), default=0))
    return f"{fence} {shown} {fence}" if "`" in shown else f"`{shown}`"
