"""The aliases of platforms: addresses of theirs that look different and lead to one person, page or image. Pure.

A platform is one function, which gives the one place for all aliases or None for what is not its own, and one entry
in PLATFORMS.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple


class Place(NamedTuple):
    """An address of the web in its normal parts: decoded, without what never matters (see urls.py)."""

    host: str
    path: tuple[str, ...]
    query: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        query = "&".join("=".join(pair) for pair in self.query)
        return "/".join((self.host, *self.path)) + (f"?{query}" if query else "")


def alias(place: Place) -> Place:
    """The one place that stands for all aliases of `place`; itself where no platform knows it."""
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
    """Photos by their number, which is unique on Flickr; people by their NSID or name, in lower case."""
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
    # A script's page is told by its query.
    if not owner or owner.endswith(".gne") or _NO_PEOPLE.fullmatch(owner):
        return None
    owner = owner.casefold()
    if rest and rest[0].isdigit() and path[0] == "photos":
        return Place("flickr.com", ("photo", rest[0]))
    # What is behind a person's name is a view of theirs, such as `albums`; with more behind it it is one album.
    return Place("flickr.com", ("people", owner, *(rest if len(rest) > 1 else ())))


_WIKIS = re.compile(
    r"(?:.+\.)?(?:wikimedia|wikipedia|wikidata|wikisource|wikibooks|wikinews|wikiquote|wikiversity|wikivoyage"
    r"|wiktionary|mediawiki)\.org"
)
# `User` and `User talk` in some of the languages that photos come with; accounts are the same in all wikis.
_USER = re.compile(
    r"(?:user|user talk|benutzer|benutzerin|benutzer diskussion|utilisateur|utilisatrice|discussion utilisateur"
    r"|usuario|usuaria|usuário|usuária|usuari|utente|gebruiker|overleg gebruiker|użytkownik|użytkowniczka|användare"
    r"|bruker|bruger|käyttäjä|wikipedista|wikipedistka|felhasználó|kullanıcı|участник|участница|користувач|користувачка"
    r"|משתמש|مستخدم|کاربر|利用者|用户|使用者|사용자|utilizator|χρήστης|thành viên|pengguna) ?: ?(.+)",
    re.IGNORECASE,
)
_FILE = re.compile(r"(?:file|image|datei|fichier|archivo|bestand) ?: ?(.+)", re.IGNORECASE)


def wikimedia(place: Place) -> Place | None:
    """People by their account, which is one for all wikis; the files of Commons by their name."""
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
        return _titled("user", user[1].partition("/")[0])  # pages under a person's are theirs
    redirect = re.fullmatch(r"special ?: ?(?:filepath|redirect/file)/(.+)", title, re.IGNORECASE)
    if host == "commons.wikimedia.org" and (file := redirect or _FILE.fullmatch(title)):
        return _titled("file", file[1])
    if not title or title.casefold().startswith("special"):
        return None  # the query says which page
    return Place(host, ("wiki", title), tuple(pair for pair in query if pair[0] == "oldid"))


def _titled(kind: str, title: str) -> Place:
    """Titles begin with a capital letter, and a blank is an underscore: https://www.mediawiki.org/wiki/Manual:Title.php"""
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
    """The sites of its network share people and observations; names of people are in lower case."""
    host, path, query = place
    photos = _NATURALISTS_PHOTOS.fullmatch(host)
    if not photos and not _NATURALISTS.fullmatch(host):
        return None
    if path[:1] == ("photos",) and len(path) > 1:
        return Place("inaturalist.org", ("photo", path[1]))
    if path[:1] in (("people",), ("users",), ("calendar",), ("journal",)) and len(path) > 1:
        return Place("inaturalist.org", ("people", path[1].casefold()))
    said = dict(query)
    if path == ("observations",) and (person := said.get("user_id") or said.get("user_login")):
        return Place("inaturalist.org", ("people", person.casefold()))
    if path[:1] == ("observations",) and len(path) == 2 and not path[1].isdigit():
        return Place("inaturalist.org", ("people", path[1].casefold()))
    return None if photos else Place("inaturalist.org", path, query)


PLATFORMS: tuple[Callable[[Place], Place | None], ...] = (flickr, wikimedia, inaturalist)
