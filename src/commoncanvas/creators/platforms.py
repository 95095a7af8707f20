"""Aliases on platforms: different addresses that lead to the same person, page or image. Pure.

A platform is a function, listed in PLATFORMS. It returns one place for all aliases, or None for foreign addresses.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple


class Place(NamedTuple):
    """A web address in normalised parts: decoded, without parts that don't matter (see urls.py)."""

    host: str
    path: tuple[str, ...]
    query: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        query = "&".join("=".join(pair) for pair in self.query)
        return "/".join((self.host, *self.path)) + (f"?{query}" if query else "")


def alias(place: Place) -> Place:
    """The place that represents all aliases of `place`; `place` itself if no platform knows it."""
    for platform in PLATFORMS:
        if (known := platform(place)) is not None:
            return known
    return place


_BASE58 = "123456789abcdefghijkmnopqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ"
_NO_PEOPLE = re.compile(
    "about|abuse|account|apps|blog|buddyicons|cameras|commons|creativecommons|events|explore|favicon.ico|friends|galleries|groups"
    "|help|home|jobs|map|me|people|photos|places|prints|search|services|signin|signup|tags|upload"
)


def flickr(place: Place) -> Place | None:
    """Flickr: photos by their number, which is unique; people by their NSID or name, in lower case."""
    host, path, query = place
    if host.endswith(("staticflickr.com", "static.flickr.com")):
        photo = re.match(r"(\d+)_", path[-1]) if path else None
        return Place("flickr.com", ("photo", photo[1])) if photo else None
    if (
        host == "flic.kr"
        and len(path) == 2
        and path[0] == "p"
        and re.fullmatch(f"[{_BASE58}]{{1,12}}", path[1])
    ):
        number = 0
        for mark in path[1]:
            number = number * 58 + _BASE58.index(mark)
        return Place("flickr.com", ("photo", str(number)))
    if host not in ("flickr.com", "secure.flickr.com"):
        return None
    if path[:1] == ("photo.gne",):
        photo_id = dict(query).get("id")
        return Place("flickr.com", ("photo", photo_id)) if photo_id else None
    owner, *rest = (path[1:] if path[:1] in (("photos",), ("people",)) else path) or ("",)
    # The query identifies the page of a script (.gne).
    if not owner or owner.endswith(".gne") or _NO_PEOPLE.fullmatch(owner):
        return None
    owner = owner.casefold()
    if rest and rest[0].isdigit() and path[0] == "photos":
        return Place("flickr.com", ("photo", rest[0]))
    # One part after the person's name is a view of the person, such as `albums`; two parts are one album.
    return Place("flickr.com", ("people", owner, *(rest if len(rest) > 1 else ())))


_WIKIS = re.compile(
    r"(?:.+\.)?(?:wikimedia|wikipedia|wikidata|wikisource|wikibooks|wikinews|wikiquote|wikiversity|wikivoyage"
    r"|wiktionary|mediawiki)\.org"
)
# `User` and `User talk` in the languages of many photos. Accounts are shared by all wikis.
_USER = re.compile(
    r"(?:user|user talk|benutzer|benutzerin|benutzer diskussion|utilisateur|utilisatrice|discussion utilisateur"
    r"|usuario|usuaria|usuário|usuária|usuari|utente|gebruiker|overleg gebruiker|użytkownik|użytkowniczka|användare"
    r"|bruker|bruger|käyttäjä|wikipedista|wikipedistka|felhasználó|kullanıcı|участник|участница|користувач|користувачка"
    r"|משתמש|مستخدم|کاربر|利用者|用户|使用者|사용자|utilizator|χρήστης|thành viên|pengguna) ?: ?(.+)",
    re.IGNORECASE,
)
_FILE = re.compile(r"(?:file|image|datei|fichier|archivo|bestand) ?: ?(.+)", re.IGNORECASE)


def wikimedia(place: Place) -> Place | None:
    """Wikimedia: people by their account, which is the same in all wikis; files of Commons by their name."""
    host, path, query = place
    host = host.replace(".m.", ".")
    if not _WIKIS.fullmatch(host):
        return None
    if host == "upload.wikimedia.org" and path[:2] == ("wikipedia", "commons") and len(path) >= 5:
        name = path[5] if path[2] == "thumb" and len(path) > 5 else path[-1]
        return _titled("file", name)
    if path[:1] == ("wiki",) and len(path) > 1:
        title = "/".join(path[1:])
    elif path in (("w", "index.php"), ("wiki", "index.php"), ("index.php",)):
        title = dict(query).get("title", "")
    else:
        return None
    title = " ".join(title.replace("_", " ").split())
    if user := _USER.fullmatch(title) or re.fullmatch(
        r"special ?: ?contributions/(.+)", title, re.IGNORECASE
    ):
        return _titled("user", user[1].partition("/")[0])  # subpages belong to the same person
    redirect = re.fullmatch(r"special ?: ?(?:filepath|redirect/file)/(.+)", title, re.IGNORECASE)
    if host == "commons.wikimedia.org" and (file := redirect or _FILE.fullmatch(title)):
        return _titled("file", file[1])
    if not title or title.casefold().startswith("special"):
        return None  # the query identifies the page
    return Place(host, ("wiki", title), tuple(pair for pair in query if pair[0] == "oldid"))


def _titled(kind: str, title: str) -> Place:
    """Titles start with a capital letter and have no spaces: https://www.mediawiki.org/wiki/Manual:Title.php"""
    plain = " ".join(title.replace("_", " ").split())
    return Place("wikimedia.org", (kind, f"{plain[:1].upper()}{plain[1:]}".replace(" ", "_")))


_NATURALISTS = re.compile(
    r"(?:.+\.)?inaturalist\.(?:org|ca|nz|lu|se)|inaturalist\.(?:ala\.org\.au|laji\.fi|mma\.gob\.cl)"
    r"|naturalista\.(?:mx|uy)|biodiversity4all\.org|argentinat\.org"
)
_NATURALISTS_PHOTOS = re.compile(
    r"static\.inaturalist\.org|inaturalist-open-data\.s3(?:\.[a-z0-9-]+)?\.amazonaws\.com"
)


def inaturalist(place: Place) -> Place | None:
    """iNaturalist: all sites of its network share people and observations; people's names are in lower case."""
    host, path, query = place
    photos = _NATURALISTS_PHOTOS.fullmatch(host)
    if not photos and not _NATURALISTS.fullmatch(host):
        return None
    if path[:1] == ("photos",) and len(path) > 1:
        return Place("inaturalist.org", ("photo", path[1]))
    if path[:1] in (("people",), ("users",), ("calendar",), ("journal",)) and len(path) > 1:
        return Place("inaturalist.org", ("people", path[1].casefold()))
    values = dict(query)
    if path == ("observations",) and (person := values.get("user_id") or values.get("user_login")):
        return Place("inaturalist.org", ("people", person.casefold()))
    if path[:1] == ("observations",) and len(path) == 2 and not path[1].isdigit():
        return Place("inaturalist.org", ("people", path[1].casefold()))
    return None if photos else Place("inaturalist.org", path, query)


PLATFORMS: tuple[Callable[[Place], Place | None], ...] = (flickr, wikimedia, inaturalist)
