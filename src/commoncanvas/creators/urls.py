"""A normal form for the addresses of people, pages and images, which is equal for all spellings of an address.

It follows RFC 3986, section 6 (case, percent-encoding, path segments, scheme). It also removes other parts that don't
change the target: http or https, `www.` and `m.`, the default port, a final slash, tracking parameters. Then it
resolves the aliases of some platforms (see platforms.py). It is only for comparison and can't be requested. Pure.
"""

from __future__ import annotations

import re
import unicodedata
from contextlib import suppress
from urllib.parse import unquote_plus

from commoncanvas.core.redact import signing, without_session
from commoncanvas.creators.platforms import Place, alias

_SPLIT = re.compile(
    r"(?:(?P<scheme>[a-z][a-z0-9+.-]*):)?//(?P<authority>[^/?#]*)(?P<path>[^?#]*)(?:\?(?P<query>[^#]*))?(?:#(?P<fragment>.*))?",
    re.IGNORECASE | re.DOTALL,
)
_ENCODED = re.compile(r"(?:%[0-9a-f]{2})+", re.IGNORECASE)
_KEPT = re.compile(r"[\x00-\x1f/?#%\x7f]")
"""Characters that stay percent-encoded, because decoding would change the meaning."""
_MOBILE = re.compile(r"^(?:(?:www\d?|m|mobile)\.)+(?=[^.]+\.)")
_TRACKING = re.compile(
    r"utm(_.*)?|ref|ref_src|ref_url|[a-z]*clid|mc_[ce]id|igsh(id)?|si|_ga|_gl|share|source", re.IGNORECASE
)
_WEB = ("http", "https", None)


def normal_url(url: str) -> str:
    """A text that is equal for all ordinary spellings of an address. Other text only loses its spaces."""
    text = "".join(mark for mark in url.strip() if mark.isprintable())
    parts = _SPLIT.fullmatch(text)
    if parts is None:
        return text
    scheme = parts["scheme"] and parts["scheme"].lower()
    host = _host(parts["authority"])
    place = Place(host, _segments(without_session(parts["path"])), _query(parts["query"] or ""))
    if scheme not in _WEB:
        return f"{scheme}://{place}"
    fragment = parts["fragment"] or ""
    page = f"#{_decoded(fragment)}" if fragment[:1] in ("!", "/") else ""  # a page of a script
    return f"{alias(place)}{page}"


def user_id(url: str) -> str:
    """A platform's id for a creator: the last part of the address, in lower case."""
    return normal_url(url).partition("?")[0].rpartition("/")[2].casefold()


def _host(authority: str) -> str:
    name, port = re.fullmatch(r"(.*?)(?::(\d*))?", authority.rpartition("@")[2], re.DOTALL).groups()  # type: ignore[union-attr]
    name = unicodedata.normalize("NFKC", _decoded(name)).casefold().rstrip(".")
    if not name.isascii():
        with suppress(UnicodeError):
            name = name.encode("idna").decode("ascii")
    name = _MOBILE.sub("", name)
    return name if port in (None, "", "80", "443") else f"{name}:{port}"


def _segments(path: str) -> tuple[str, ...]:
    kept: list[str] = []
    for segment in path.split("/"):
        plain = _decoded(segment)
        if plain == "..":
            kept = kept[:-1]
        elif plain not in ("", "."):
            kept.append(plain)
    return tuple(kept)


def _query(query: str) -> tuple[tuple[str, str], ...]:
    pairs = [part.partition("=") for part in query.split("&") if part]
    signs = signing([name for name, _, _ in pairs])
    return tuple(
        sorted(
            (unquote_plus(name), unquote_plus(value))
            for name, _, value in pairs
            if not signs(name) and not _TRACKING.fullmatch(name)
        )
    )


def _decoded(text: str) -> str:
    """Decode percent-encoding where this doesn't change the meaning, and normalise to NFC."""
    if "%" in text:
        text = _ENCODED.sub(_decode, text)
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def _decode(run: re.Match[str]) -> str:
    try:
        plain = bytes.fromhex(run[0].replace("%", "")).decode()
    except UnicodeDecodeError:
        return run[0].upper()
    return _KEPT.sub(lambda mark: f"%{ord(mark[0]):02X}", plain)
