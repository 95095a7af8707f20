"""A normal form for people's names, which is equal for all spellings, and a test for similar names. Pure."""

from __future__ import annotations

import hashlib
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable
from functools import lru_cache

_APOSTROPHES = dict.fromkeys(
    map(
        ord,
        "\u2018\u2019\u201a\u201b\u2032\u2035\u00b4\u0060\u02b9\u02bb\u02bc\u02bd\u02c8\u02ca\u02cb\u055a\u05f3\ua78c\uff07",
    ),
    "'",
)
_QUOTES = dict.fromkeys(map(ord, "\u201c\u201d\u201e\u201f\u2033\u2036\u00ab\u00bb\u02ba\u05f4\uff02"), '"')
_DASHES = dict.fromkeys(map(ord, "\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58\ufe63\uff0d"), "-")
_TYPOGRAPHY = {**_APOSTROPHES, **_QUOTES, **_DASHES}
_INVISIBLE = frozenset("\u034f\u115f\u1160\u2800\u3164\uffa0")
NO_CREATOR = "creator not stated"
SHORT = 5
"""Names with fewer letters and digits may differ only in accents and punctuation to be near."""
LONG = 200
"""In longer names no typing error is accepted."""


@lru_cache(maxsize=1 << 16)
def normal_name(name: str) -> str:
    """A text that is equal for all ordinary spellings of a name; empty if nothing is visible.

    Unicode's caseless compatibility match (NFKC and case folding: The Unicode Standard, section 3.13). White space of
    any kind becomes one space. Format characters (direction, zero width, variation selectors) are removed. Typographic
    apostrophes, quotes and dashes become ASCII.
    """
    if name.isascii() and name.isprintable():
        return " ".join(name.replace("`", "'").casefold().split())
    marks = name.translate(_TYPOGRAPHY).replace(" \u0301", "'")  # an acute accent alone, decomposed
    plain = unicodedata.normalize("NFKC", marks).casefold()
    shown = "".join(" " if mark.isspace() else mark for mark in plain if mark.isspace() or not _hidden(mark))
    return " ".join(unicodedata.normalize("NFKC", shown).translate(_TYPOGRAPHY).split())


def count_names(names: Iterable[str | None]) -> dict[str, int]:
    """Name -> how often it occurs, most first. Spellings count as the most frequent one; a missing name as ""."""
    spellings: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for name in names:
        spellings[normal_name(name or "")][name or ""] += 1
    counts = {each.most_common(1)[0][0]: each.total() for each in spellings.values()}
    return dict(Counter(counts).most_common())


def near_marks(name: str) -> frozenset[int]:
    """64-bit hashes. Two names that are near each other have at least one in common.

    Names are near if they differ only in accents, punctuation, spaces or the order of words. Names of SHORT or more
    letters and digits are also near with one typing error: a letter is replaced, missing, doubled or swapped with the
    next one. A digit is never an error: `user 12` is not near `user 13`. The hashes are those of the name without one
    letter, for each letter (symmetric deletion). They can be stored where the name itself may not.
    """
    normal = normal_name(name)
    words = "".join(mark if mark.isalnum() else " " for mark in _unaccented(normal)).split()
    plain = "".join(words) or normal
    forms = {plain, "".join(sorted(words)) or plain} - {""}
    if SHORT <= len(plain) <= LONG:
        forms |= {plain[:place] + plain[place + 1 :] for place, mark in enumerate(plain) if mark.isalpha()}
    return frozenset(_hash(form) for form in forms)


def _unaccented(text: str) -> str:
    if text.isascii():
        return text
    return "".join(mark for mark in unicodedata.normalize("NFKD", text) if not unicodedata.combining(mark))


def _hash(form: str) -> int:
    return int.from_bytes(hashlib.blake2b(form.encode(), digest_size=8, person=b"near name").digest())


def _hidden(mark: str) -> bool:
    return (
        unicodedata.category(mark) in ("Cc", "Cf", "Cs")
        or mark in _INVISIBLE
        or "\ufe00" <= mark <= "\ufe0f"
        or "\U000e0100" <= mark <= "\U000e01ef"
    )
