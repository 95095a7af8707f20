"""URLs for requests: unchanged from the metadata or the redirect, except that illegal characters are quoted."""

from __future__ import annotations

import re
from urllib.parse import quote

from yarl import URL

# RFC 3986, appendix B, without the fragment: scheme, authority, path, query with its question mark.
_PARTS = re.compile(r"(?:([A-Za-z][A-Za-z0-9+.-]*):)?(?://([^/?]*))?([^?]*)(.*)", re.DOTALL)
_NO_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_LEGAL = "%/?:@!$&'()*+,;="
"""What a path or query may contain besides letters, digits, `-._~` (RFC 3986, 3.3 and 3.4) and escapes."""
_AROUND = "".join(map(chr, range(0x21)))
_BREAKS = str.maketrans("", "", "\t\r\n")


def web_url(address: str) -> URL:
    """The URL to request for `address`. Like a browser, it drops spaces around the address and all line ends.

    Path and query stay as written; only characters that RFC 3986 doesn't allow are quoted, such as spaces and non-ASCII
    letters (as UTF-8). Raises ValueError if it is not a web address.
    """
    scheme, authority, path, query = _parts(address)
    if scheme.lower() not in ("http", "https") or not authority:
        raise ValueError("it is not a web address")
    origin = URL(f"{scheme.lower()}://{authority}")
    # Path and query together as a path: yarl would decode a query and drop an empty one.
    target = quoted((path or "/") + query)
    return URL.build(scheme=origin.scheme, authority=origin.raw_authority, path=target, encoded=True)


def quoted(target: str) -> str:
    """Quote the illegal characters of a path and query. Surrogates become the original bytes that weren't UTF-8."""
    return quote(_NO_ESCAPE.sub("%25", target), safe=_LEGAL, errors="surrogateescape")


def redirected(address: str, location: str) -> str:
    """The target of a `Location` header that `address` sent (RFC 3986, 5.2.2)."""
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
    """Remove `.` and `..` from a path (RFC 3986, 5.2.4)."""
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
