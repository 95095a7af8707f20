"""Texts about rights that name no licence: can they contradict the licence of the same record? Pure."""

from __future__ import annotations

import re
import unicodedata

from commoncanvas.licenses.values import License

_BLANK = frozenset(("-", "--", "?", "n/a", "na", "nan", "none", "null", "unknown"))
_POINTER = re.compile(r"(?:please )?see (?:above|below|(?:the )?(?:page|source|website|description))")
_PERMISSIVE = frozenset(
    ("no rights reserved", "no copyright", "no restrictions", "open access", "public", "open")
)
_SOME_RIGHTS = "some rights reserved"

_ADDRESS = re.compile(r"(?:https?:)?//\S+|www\.\S+")
_RIGHTS_ADDRESS = re.compile(r"creativecommons|rightsstatements|licen[cs]|spdx\.org|gnu\.org|opensource")

_CLAIM = re.compile(r"©|\(c\)|\bcopyright\b")
# "© 2019 dschwen": a name of up to three words.
_OWNER = re.compile(r"(?:(?:©|\(c\)|copyright)\s*)+(?:\d{4}(?:\s*[-/,]\s*\d{4})?,?\s*)?\S+(?:\s\S+){0,2}")
# Words besides names in a credit line: "© 2019 Museum of the City, photo: Jane Doe".
_CREDIT_WORDS = frozenset(
    (
        *("©", "c", "copyright", "photo", "photograph", "photographer", "photography", "image", "images"),
        *("picture", "scan", "courtesy", "credit", "credits", "by", "of", "the", "and", "from", "at"),
        *("de", "del", "della", "der", "den", "des", "di", "da", "do", "du", "la", "le", "el", "y", "et"),
        *("e", "und", "en", "van", "von", "zu", "for", "fur"),
    )
)
# Roots of words that grant or forbid a use, in the languages of European collections.
_USE_WORDS = re.compile(
    r"\b(?:reserv|riserv|vorbehalt|voorbehoud|permi[st]|prohib|forbid|forbud|verbot|verbod|interdi|restrict|"
    r"protect|licen[cst]|lizen|rights?\b|recht|droit|derecho|diritt|direit|usage|use[ds]?\b|using|uso\b|nutz|"
    r"gebruik|reproduc|copy\b|copie[ds]\b|copying|public domain|only|not?\b|non\b|never|except|without|unless|"
    r"privat|personal|editorial|royalt|fees?\b|fair use|attribution|creative common|"
    r"cc\b|cc0|by-|in copyright|under copyright|copyrighted|(?:nc|nd|arr)\b|ask\b)"
    # These also match inside of words: "noncommercial", "NoDerivatives", "unlicensed".
    r"|commerc|kommerz|deriv|educat|research|academ|embargo|confidential|proprietary|licen[cs]|zastrz"
)
_LONGEST = 2000
"""Characters. A longer text is not checked and counts as a possible contradiction."""
_LICENCE_NAME = re.compile(
    r"(?:l?gpl|agpl|gfdl|gnu fdl|mit|apache|bsd|isc|mpl|odbl|odc|ogl|fal|wtfpl)[\sv\d.+-]*"
)


def may_object(text: str, license: License) -> bool:
    """Whether `text`, which `parse` can't read, may contradict `license`.

    It doesn't if it is blank ("n/a"), points elsewhere ("see below", an address that isn't a licence's), or only names
    people and places ("© 2019 Jane Doe", "Photo: City Museum"). A copyright claim contradicts the public domain.
    Nothing contradicts a licence that gives no permission.
    """
    if not license.reusable:
        return False
    if len(text) > _LONGEST:
        return True
    spread = unicodedata.normalize("NFKD", text)
    written = "".join(mark for mark in spread if not unicodedata.combining(mark)).strip(" \t\r\n.,;")
    folded = written.casefold()
    if folded in _BLANK or folded in _PERMISSIVE or _POINTER.fullmatch(folded):
        return False
    if folded == _SOME_RIGHTS:
        return license.public_domain
    if _ADDRESS.fullmatch(folded):
        return bool(_RIGHTS_ADDRESS.search(folded))
    if (
        _USE_WORDS.search(folded)
        or _LICENCE_NAME.fullmatch(folded)
        or (license.public_domain and _CLAIM.search(folded))
    ):
        return True
    return not _OWNER.fullmatch(folded) and not all(map(_is_name, re.findall(r"[^\W_]+|©", written)))


def _is_name(word: str) -> bool:
    return not word[0].isalpha() or word[0].isupper() or word.casefold() in _CREDIT_WORDS
