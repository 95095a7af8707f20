"""Make untrusted text safe to show: on a terminal, on a page, in a spreadsheet. Pure."""

from __future__ import annotations

import re
import unicodedata
from urllib.parse import quote

from commoncanvas.core.redact import redacted

SHOWN = "\ufffd"
"""Replaces each character that is not shown."""
# Control characters (C0 without line feed, C1), which control a terminal; line separators, which some programs treat as
# the end of a line; characters that change the text direction; annotations and the byte-order mark, which hide text;
# halves of surrogate pairs, which can't be written as UTF-8.
_UNSAFE = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff]"
)
_BREAKS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")
_ADDRESS = re.compile(r"https?://(\[[\da-f:.]+\]|[^\s\[])\S*", re.IGNORECASE)


def visible(text: str) -> str:
    """`text` with U+FFFD in place of each control or invisible character; line feeds stay."""
    return _UNSAFE.sub(SHOWN, text)


def one_line(text: object, most: int | None = 300) -> str:
    """`text` on one line, made `visible`, without passwords in URLs, cut to `most` characters."""
    return visible(redacted(" ".join(str(text).split())))[:most]


def encodes(text: str) -> bool:
    """Whether `text` can be written as UTF-8. File names and JSON can contain half of a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def clean(text: str | None) -> str | None:
    """A name or title to show: one line, NFC, no unsafe characters, no passwords in URLs; None if nothing is left."""
    if text is None:
        return None
    normal = _BREAKS.sub(" ", unicodedata.normalize("NFC", text))
    return redacted(" ".join(_UNSAFE.sub("", normal).split())) or None


_MAIL = re.compile(r"[\w.!#$%&'*+/=?^`{|}~-]+@[a-zA-Z0-9-]+(\.[a-zA-Z0-9-]+)*", re.ASCII)
"""Mail addresses that CommonMark 0.31 (section 6.5) links."""


def counted(count: int, things: str) -> str:
    """`1 image`, `1,200 images`: `things` is the plural."""
    return f"{count:,} {things.removesuffix('s') if count == 1 else things}"


def web_address(url: str | None) -> str | None:
    """An http(s) URL to show, without passwords and signatures; unsafe characters are percent-encoded (RFC 3987,
    section 3.1). None for anything else, such as `javascript:` or a local path.
    """
    url = (url or "").strip()
    if not _ADDRESS.fullmatch(url):
        return None
    return _UNSAFE.sub(lambda mark: quote(mark[0], errors="replace"), redacted(url))


def escaped_json(text: str) -> str:
    """JSON with unsafe characters escaped, as `\\u009b`: safe on a terminal, and parsed to the same values."""
    return _UNSAFE.sub(lambda mark: f"\\u{ord(mark[0]):04x}", text)


# A spreadsheet formula begins with one of these characters (or its full-width form) at the start of a cell or line, or
# after a semicolon, which separates cells where the comma is the decimal mark.
# https://owasp.org/www-community/attacks/CSV_Injection
_BEGIN, _FORMULA = r"((?:^|[;\n])\s*)", r"('*[=+\-@＝＋－＠])"


def cell(text: str | None) -> str | None:
    """`text` for a CSV file. An apostrophe before a formula stops a spreadsheet from running it."""
    return text and re.sub(_BEGIN + _FORMULA, r"\1'\2", visible(text))


def text_of_cell(cell: str) -> str | None:
    """The inverse of `cell`, for text without unsafe characters; None for an empty cell."""
    return re.sub(f"{_BEGIN}'{_FORMULA}", r"\1\2", cell) or None


_LINKED = re.compile(r"://|www\.|@", re.IGNORECASE)


def markdown_cell(text: str | None) -> str:
    """`text` as a cell of a Markdown table, as plain text: without markup and without links.

    GitHub's Markdown turns bare URLs into links, escaped or not, except in code.
    """
    shown = clean(text) or ""
    if not _LINKED.search(shown):
        return re.sub(r"([\\`*_{}\[\]<>()#!|~&])", r"\\\1", shown)
    return markdown_code(shown).replace("|", r"\|")


# An underscore between letters is no markup.
_MARKUP = re.compile(r"[\\`*{}\[\]<>#|~&]|(?<!\w)_|_(?!\w)")


def markdown_text(text: str) -> str:
    """`text` on one line, as plain text of a Markdown document. Web addresses stay as they are, and become links."""
    words = visible(" ".join(text.split())).split(" ")
    return " ".join(word if "://" in word else _MARKUP.sub(r"\\\g<0>", word) for word in words)


def markdown_link(text: str) -> str:
    """A mail address or a page as a link in Markdown; anything else as text."""
    address = re.sub("^mailto:", "", text.strip(), flags=re.IGNORECASE)
    link = address if _MAIL.fullmatch(address) else web_address(address)
    return "<" + link.replace("<", "%3C").replace(">", "%3E") + ">" if link else markdown_cell(text)


def markdown_code(text: str) -> str:
    """`text` as inline code in Markdown."""
    shown = one_line(text, None)
    fence = "`" * (1 + max(map(len, re.findall("`+", shown)), default=0))
    return f"{fence} {shown} {fence}" if "`" in shown else f"`{shown}`"


def plain_name(name: str) -> str:
    """A name for a file or a figure: what is no letter, digit, dot or dash becomes a dash."""
    return "".join(letter if letter.isalnum() or letter in ".-" else "-" for letter in name)
