"""Pictures that a server shows in place of one that is gone: to store one would put it under the creator's name."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase

from yarl import URL

KNOWN = (
    # Host, and the name of the file.
    ("*.yimg.com", "photo_unavailable*"),
    ("*.staticflickr.com", "photo_unavailable*"),
    ("*.flickr.com", "photo_unavailable*"),
    ("*.yimg.com", "video_unavailable*"),
    ("i.imgur.com", "removed.png"),
    ("*.inaturalist.org", "copyright-infringement-*"),
)
"""Whoever asks for them, whatever led there."""

_GONE = "unavailable|not[-_]?available|not[-_]?found|no[-_]longer[-_]available|removed|deleted|missing"
_NAMED_SO = re.compile(
    rf"((photo|image|img|picture|pic|video|file)[-_]?({_GONE})|no[-_]?(photo|image|img|picture|pic)"
    r"|placeholder)([-_.0-9].*)?",
)
"""What other servers call theirs. An uploader may call a picture so too, so it counts only where a redirect leads."""


def stands_in(url: URL, redirected: bool) -> bool:
    """Whether `url` is known as such a picture, or, where a redirect led there, is called like one."""
    host, name = (url.raw_host or "").lower(), url.path.partition("?")[0].rpartition("/")[2].lower()
    known = any(fnmatchcase(host, place) and fnmatchcase(name, called) for place, called in KNOWN)
    return known or (redirected and _NAMED_SO.fullmatch(name) is not None)
