"""Remove what surrounds a licence's name: special dashes and spaces, HTML, addresses, sentences. Pure."""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Iterator

# Words that introduce a licence, and have no meaning of their own.
_LEAD = re.compile(
    r"(?:spdx-license-identifier|licen[cs]e|rights|usage(?: terms)?|terms of use)\s*[:=]\s*"
    r"|(?:(?:this|the|all) )?(?:works?|images?|photos?|photographs?|pictures?|files?|content|contents|items?|media|"
    r"artworks?|materials?|documents?)? ?(?:(?:is|are) )?(?:made )?"
    r"(?:licen[cs]ed|available|released|published|shared|distributed|provided)"
    r"(?: to (?:you|the public))?(?: for (?:re)?use)? (?:under|with|as) (?:the terms of )?(?:(?:an?|the) )?"
    r"|under (?:the terms of )?(?:an?|the) "
)
_LABELS = ("license", "licence", "rights", "usage", "usage terms", "terms of use")
_SOME_RIGHTS = re.compile(r"[\s(,;.-]*some rights reserved[\s),;.:-]*")
_ADDRESS = re.compile(r"""(?:https?:)?//[^\s<>()\[\]"']+|(?:www\.)?creativecommons\.org[^\s<>()\[\]"']*""")
_LINK = re.compile(r"""<a\s[^<>]*?\bhref\s*=\s*["']?([^\s"'<>]+)[^<>]*>""")
_TAG = re.compile(r"</?(?:a|abbr|b|br|cite|code|div|em|i|img|li|p|q|small|span|strong|u|ul)\b[^<>]*>")
_EDGES = " \t\r\n.,;:|<>\"'-"


def plain(text: str) -> str:
    """Convert to lower case, white space to a space, dashes to `-`, and remove invisible characters."""
    if "&" in text:
        text = html.unescape(text.casefold())
    text = unicodedata.normalize("NFKC", text).casefold()
    if not text.isascii():
        text = "".join(_plain_mark(mark) for mark in text)
    text = text.strip(" \t\r\n.,;\"'")
    return text[1:-1] if re.fullmatch(r"<[^<>]*>", text) else text


def _plain_mark(mark: str) -> str:
    match unicodedata.category(mark):
        case "Pd":
            return "-"
        case "Cf":
            return ""
        case "Zs":
            return " "
        case "Pi" | "Pf":
            return "'" if mark in "‘’" else '"'
    return "-" if mark == "\N{MINUS SIGN}" else mark


def opened(text: str) -> tuple[list[str], str]:
    """(addresses in a `plain` text, the text without addresses, HTML and introducing words).

    Unknown markup stays in the text, so that the text names no licence.
    """
    addresses: list[str] = []
    if "<" in text:
        addresses += _LINK.findall(text)
        text = _TAG.sub(" ", text)
    addresses += _ADDRESS.findall(text)
    text = _ADDRESS.sub(" ", text)
    text = re.sub(r"[\[\]]|\(\s*[,;:]?\s*\)|<\s*>", " ", text)
    text = _SOME_RIGHTS.sub(" ", " ".join(text.split())).strip(_EDGES)
    if lead := _LEAD.match(text):
        text = text[lead.end() :]
    if inside := re.fullmatch(r"\(([^()]*)\)", text):
        text = inside[1]
    if addresses and text in _LABELS:
        text = ""
    return [address.rstrip(".,;:") for address in addresses], text.strip(_EDGES)


_NAME = r"(?:\bcc\b|\bcreative[\s-]?commons\b)"
_BARE = re.compile(rf"(?:{_NAME}(?:\s+licen[cs]es?)?)?")
_BETWEEN = (
    re.compile(r"\s+[-/|]+\s+|\s*[|;]\s*|\s*:\s+|,\s+"),
    re.compile(rf"[\s,;:/|-]+(?={_NAME})"),
    re.compile(r"[\s,;:/|-]+(?=attribution\b)"),
)


def says_only_who(text: str) -> bool:
    """Whether a part of a text is empty, or only "Creative Commons"."""
    return bool(_BARE.fullmatch(text.strip()))


def pieces(text: str) -> Iterator[list[str]]:
    """Ways to split a text that names one licence several times, for example by its name and its short name."""
    for between in _BETWEEN:
        parts = between.split(text)
        named = [part for part in parts if not says_only_who(part)]
        if named and len(parts) > 1:
            yield named
