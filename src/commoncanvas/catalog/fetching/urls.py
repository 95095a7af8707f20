"""Addresses as they go out: byte for byte as metadata or a server wrote them; only what is illegal is quoted."""

from __future__ import annotations

import re
from urllib.parse import quote

from yarl import URL

# RFC 3986, appendix B, without the fragment: scheme, authority, path, query with its question mark.
_PARTS = re.compile(r"(?:([A-Za-z][A-Za-z0-9+.-]*):)?(?://([^/?]*))?([^?]*)(.*)", re.DOTALL)
_NO_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_LEGAL = "%/?:@!$&'()*+,;="
"""What a path or query may have beside letters, digits and `-._~` (RFC 3986, 3.3 and 3.4), and escapes."""
_AROUND = "".join(map(chr, range(0x21)))
_BREAKS = str.maketrans("", "", "\t\r\n")


def web_url(address: str) -> URL:
    """The URL to ask for `address`. Browsers' rules for blanks: those around it, and line ends, are no part of it.

    A path or query goes out as it is written; blanks, letters outside of ASCII (as UTF-8) and all else that RFC 3986
    doesn't allow are quoted. Raises ValueError for what is no address of the web.
    """
    scheme, authority, path, query = _parts(address)
    if scheme.lower() not in ("http", "https") or not authority:
        raise ValueError("it is not a web address")
    origin = URL(f"{scheme.lower()}://{authority}")
    # All as one path: of a query yarl would decode what it can, and drop an empty one.
    target = quoted((path or "/") + query)
    return URL.build(scheme=origin.scheme, authority=origin.raw_authority, path=target, encoded=True)


def quoted(target: str) -> str:
    """A path and query with what is illegal in them quoted; bytes that were no UTF-8 (surrogates) as they were."""
    return quote(_NO_ESCAPE.sub("%25", target), safe=_LEGAL, errors="surrogateescape")


def redirected(address: str, location: str) -> str:
    """Where a `Location` that came from `address` leads (RFC 3986, 5.2.2)."""
    scheme, authority, path, query = _parts(address)
    to_scheme, to_authority, to_path, to_query = _parts(location)
    if to_scheme:
        return location
    if to_authority:
        return f"{scheme}://{to_authority}{to_path}{to_query}"
    if not to_path:
        to_path, to_query = path, to_query or query
    elif not to_path.startswith("/"):
        to_path = _without_dots(path[: path.rfind("/") + 1] + to_path)
    return f"{scheme}://{authority}{to_path}{to_query}"


def _parts(address: str) -> tuple[str, str, str, str]:
    text = address.strip(_AROUND).translate(_BREAKS).partition("#")[0]
    found = _PARTS.fullmatch(text)
    assert found
    scheme, authority, path, query = (part or "" for part in found.groups())
    return scheme, authority, path, query


def _without_dots(path: str) -> str:
    """A path of which a part is relative, without its `.` and `..` (RFC 3986, 5.2.4)."""
    kept: list[str] = []
    segments = path.removeprefix("/").split("/")
    for segment in segments:
        if segment == "..":
            del kept[-1:]
        elif segment != ".":
            kept.append(segment)
    if segments[-1] in (".", ".."):
        kept.append("")
    return "/" + "/".join(kept)
