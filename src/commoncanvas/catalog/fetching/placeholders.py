"""Placeholder pictures that servers send for removed images. Storing one would credit it to the wrong creator."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase

from yarl import URL

KNOWN = (
    # Patterns of the host and of the file name.
    ("*.yimg.com", "photo_unavailable*"),
    ("*.staticflickr.com", "photo_unavailable*"),
    ("*.flickr.com", "photo_unavailable*"),
    ("*.yimg.com", "video_unavailable*"),
    ("i.imgur.com", "removed.png"),
    ("*.inaturalist.org", "copyright-infringement-*"),
)
"""Always placeholders, with or without a redirect."""

_GONE = "unavailable|not[-_]?available|not[-_]?found|no[-_]longer[-_]available|removed|deleted|missing"
_USUAL_NAME = re.compile(
    rf"((photo|image|img|picture|pic|video|file)[-_]?({_GONE})|no[-_]?(photo|image|img|picture|pic)"
    r"|placeholder)([-_.0-9].*)?",
)
"""Usual names on other servers. A real picture can have such a name, so it counts only after a redirect."""


def stands_in(url: URL, redirected: bool) -> bool:
    """Whether `url` is a known placeholder, or was reached by a redirect and is named like one."""
    host, name = (url.raw_host or "").lower(), url.path.partition("?")[0].rpartition("/")[2].lower()
    known = any(fnmatchcase(host, hosts) and fnmatchcase(name, names) for hosts, names in KNOWN)
    return known or (redirected and _USUAL_NAME.fullmatch(name) is not None)
