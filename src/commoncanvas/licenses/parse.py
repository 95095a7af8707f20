"""Read a licence from any spelling: ids, addresses, names, templates, slugs.

The rule: every word must be understood, otherwise the whole text is `unknown`. "Not CC BY" and "CC BY-5.0" are
unknown. A part of a text is never used alone because it looks like a licence.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache, partial, reduce
from urllib.parse import unquote

from commoncanvas.core.errors import LicenseError
from commoncanvas.licenses import spellings, wrapping
from commoncanvas.licenses.values import ALL_RIGHTS_RESERVED, LICENSES, TOOLS, UNKNOWN, License, elements

# No name of a licence is longer, not even Creative Commons' HTML; a pasted full licence text is.
_MAX_CHARACTERS = 600

_BY_ID = {id.casefold(): license for id, license in LICENSES.items()}
_BY_ELEMENTS = {(elements(unit), version, port): license for (unit, version, port), license in TOOLS.items()}


def parse(text_or_id: str | int | None, version: str | None = None, *, source: str | None = None) -> License:
    """The licence that `text_or_id` names, or `UNKNOWN`; never raises for any text.

    It reads canonical and SPDX ids; creativecommons.org addresses of any version, port, language, scheme and page;
    names ("CC BY 4.0", "Creative Commons Attribution-ShareAlike 4.0 International", names of Flickr and Wikimedia);
    Wikimedia template names, with or without braces; Openverse's slug ("by-nc-sa") with a separate `version` ("2.0");
    the elements' names in German, French, Spanish, Italian, Portuguese and Dutch. Case, separators, kinds of dashes and
    the order of the elements don't matter. A text may name a licence several times (by name, short name, address in
    brackets or HTML link) and in a sentence ("Licensed under ..."). If these differ, the result is unknown.

    `source` is the author of the text, for spellings with a special meaning there. With "flickr" (or "yfcc", which has
    Flickr's photos) numbers are Flickr's licence ids, and names without version, such as "Attribution License", mean
    version 2.0.

    If a text offers several versions ("Cc-by-sa-3.0,2.5,2.0,1.0") or licences (`{{self|GFDL|cc-by-3.0}}`), a user may
    choose: the result is the latest version, or the licence with the fewest conditions. Without a stated version the
    result has none: `CC-BY`, with its permissions but without an address.
    """
    if text_or_id is None:
        return UNKNOWN
    text = str(text_or_id)
    return UNKNOWN if len(text) > _MAX_CHARACTERS else _parse(text, version, source)


# Even 100 million rows name only a few dozen licences.
@lru_cache(maxsize=1 << 14)
def _parse(text: str, version: str | None, source: str | None) -> License:
    text = wrapping.plain(text)
    stated = (version or "").strip().casefold()
    if stated == "n/a":  # Openverse writes it for no version
        stated = ""
    if source is not None and not stated:
        own = spellings.OF_SOURCE.get(source.casefold(), {})
        if text in own:
            return own[text]
    license = _read_whole(text, stated)
    # If the text names a version too, both must be the same.
    return license if not stated or license.version == _version(stated) else UNKNOWN


def require(text: str, *, where: str) -> License:
    """`parse` that raises LicenseError for an unknown licence; `where` is its place for the message ("yfcc:123")."""
    license = parse(text)
    if license is UNKNOWN:
        raise LicenseError(
            f"licence {text!r} of {where} is unknown; correct the source or name a Creative Commons licence, "
            "such as CC-BY-4.0 or https://creativecommons.org/licenses/by/4.0/"
        )
    return license


def _read_whole(text: str, stated: str) -> License:
    """Read a text that may name the same licence several times: by name, short name and address."""
    license = _read(text, stated)
    if license.known:
        return license
    addresses, rest = wrapping.opened(text)
    found = [_read_address(address) for address in dict.fromkeys(addresses)]
    if rest:
        found.append(_read_again(rest, stated))
    return reduce(_narrower, found) if found else UNKNOWN


def _read_again(text: str, stated: str) -> License:
    license = _read(text, stated)
    if not license.known:
        ways = (map(partial(_read, stated=stated), pieces) for pieces in wrapping.pieces(text))
        license = next((found for way in ways if (found := reduce(_narrower, way)).known), UNKNOWN)
    return license


def _read(text: str, stated: str) -> License:
    if text in _BY_ID:
        license = _BY_ID[text]
        # "CC-BY" with the version in a separate field is read below.
        if license.version or not stated:
            return license
    if "://" in text or "creativecommons.org" in text or text.startswith("//"):
        return _read_address(text)
    if template := re.fullmatch(r"\{\{([^{}]*)\}\}", text):
        return _read_template(template[1], stated)
    parenthesised = re.fullmatch(r"([^()]*)\(([^()]*)\)([^()]*)", text)
    if parenthesised:
        before, inside, after = parenthesised.groups()
        if wrapping.says_only_who(f"{before} {after}"):  # "Creative Commons (CC BY 4.0)"
            return _read_name(inside, stated)
        outer, inner = _read_name(f"{before} {after}", stated), _read_name(inside, stated)
        if outer.known and inner.known:
            # "Attribution (CC BY 4.0)": the same licence twice; one may lack the version.
            return _narrower(outer, inner)
        # "Attribution 2.0 (Chile)": the brackets contain no licence.
        return UNKNOWN if inner.known else _read_name(f"{before} {inside} {after}", stated)
    return _read_name(text, stated)


def _narrower(outer: License, inner: License) -> License:
    """The more specific of two licences that permit the same; `UNKNOWN` if they differ."""
    if outer == inner:
        return outer
    if not (outer.known and inner.known) or _terms(outer) != _terms(inner):
        return UNKNOWN
    if None in (outer.version, inner.version):
        return inner if outer.version is None else outer
    # "Attribution 3.0 Germany (CC BY 3.0)": the port is more specific.
    if outer.public_domain:  # two different public domain marks
        return UNKNOWN
    if outer.version == inner.version and None in (outer.jurisdiction, inner.jurisdiction):
        return inner if outer.jurisdiction is None else outer
    return UNKNOWN


def _terms(license: License) -> tuple[bool, ...]:
    return (
        license.reusable,
        license.public_domain,
        license.derivatives,
        license.commercial,
        not license.share_alike,
        not license.attribution,
    )


def _version(text: str) -> str:
    """`4`, `v4.0` -> `4.0`."""
    text = text.removeprefix("v").lstrip(".")
    return f"{text}.0" if len(text) == 1 else text


# --- addresses ---------------------------------------------------------------------------------

_ADDRESS = re.compile(r"(?:https?:)?(?://)?(?:www\.)?([a-z.]+)(/[^?#\s]*)?(?:[?#]\S*)?")
# deed, deed.de, deed.en_us, deed.sr@latin, legalcode.fr, legalcode.txt, rdf
_PAGE = re.compile(r"(?:deed|legalcode|rdf)(?:[.@_-][a-z0-9]+)*")


def _read_address(text: str) -> License:
    match = _ADDRESS.fullmatch(text)
    if not match:
        return UNKNOWN
    host, path = match[1], unquote(match[2] or "").strip()
    parts = [part for part in path.split("/") if part]
    if host == "opendefinition.org" and len(parts) == 2 and parts[0] == "licenses":
        return _read_name(parts[1], "")
    if host == "spdx.org" and len(parts) == 2 and parts[0] == "licenses":
        return _BY_ID.get(re.sub(r"\.(html|json|txt)$", "", parts[1]), UNKNOWN)
    if host != "creativecommons.org":
        return spellings.ADDRESSES.get("/".join([host, *parts]), UNKNOWN)
    if len(parts) > 2 and _PAGE.fullmatch(parts[-1]):
        del parts[-1]
    match parts:
        case ["publicdomain", tool, *rest]:
            return spellings.PUBLIC_DOMAIN_TOOLS.get((tool, *rest), UNKNOWN)
        case ["licenses", "publicdomain"] | ["licenses", "publicdomain", "us"]:
            return spellings.PUBLIC_DOMAIN_TOOLS["certification", "1.0", "us"]
        case ["licenses" | "licences", unit, *rest] if len(rest) < 3 and len(unit.split("-")) == len(
            elements(unit)
        ):
            version, port = [*rest, None, None][:2]
            return _BY_ELEMENTS.get((elements(unit), version, port), UNKNOWN)
    return UNKNOWN


# --- Wikimedia templates -----------------------------------------------------------------------


def _read_template(inside: str, stated: str) -> License:
    name, *arguments = (part.strip() for part in inside.split("|"))
    if name != "self":
        return _read_name(name, stated)
    offered = [_read_name(argument, stated) for argument in arguments if "=" not in argument]
    return max(offered, key=lambda license: (_terms(license), license.version or ""), default=UNKNOWN)


# --- names -------------------------------------------------------------------------------------

_PHRASES = (
    (re.compile(r"(?<=[a-z])\.(?=[a-z\d])"), " "),
    *((re.compile(words), f" {code} ") for words, code in spellings.TRANSLATED),
    (re.compile(r"creative[\s_-]?commons"), " cc "),
    (re.compile(r"non[\s_-]?commercial(?:[\s_-]use)?"), " nc "),
    (re.compile(r"no[\s_-]?deriv(?:ative|ation)?s?(?:[\s_-]works?)?\b"), " nd "),
    (re.compile(r"share[\s_-]?alike"), " sa "),
    (re.compile(r"attribution"), " attribution "),
    # "CC BYNCSA", "ccbyncnd"
    (re.compile(r"\bcc[\s-]?(by)(nc)?(nd|sa)?(?![a-z])"), r" cc \1 \2 \3 "),
    (re.compile(r"sampling[\s-]?(?:plus\b|\+)"), " sampling+ "),
    (re.compile(r"developing nations"), " devnations "),
    # "CCBY", "CC-BY4.0", "CC BY-SAv3"
    (re.compile(r"\bcc(?=by)"), "cc "),
    (re.compile(r"\b(by|sa|nc|nd)v?(?=\d)"), r"\1 "),
    (re.compile(r"\b(?:v|ver|version)\b\.?\s*(?=\d)"), " "),
    # "CC_BY_4_0", "cc-by-sa-2-5", "CC BY 4,0"
    (re.compile(r"(?<![\d.])([1-4])[\s_,-]([015])(?![\d.])"), r"\1.\2"),
)
_SEPARATORS = re.compile(r"[\s\-_/,;:&]+")
_VERSION = re.compile(r"v?[1-9](?:\.\d)?")
_FILLERS = frozenset(
    (
        "license",
        "licence",
        "version",
        "v",
        "international",
        "unported",
        "generic",
        "public",
        "deed",
        "legalcode",
        "migrated",
        *("intl", "licenses", "licences"),
        *spellings.TRANSLATED_FILLERS,
    )
)
_IDLE_WORDS = frozenset(("universal", "legal", "code", "terms", "licensed"))
_ELEMENT_WORDS = frozenset(("attribution", "by", "nc", "nd", "sa", "sampling", "sampling+", "devnations"))


def _read_name(text: str, stated: str) -> License:
    text = text.strip()
    squeezed = " ".join(_SEPARATORS.split(text)).strip()
    if squeezed in spellings.NAMES:
        return spellings.NAMES[squeezed]
    if tool := spellings.public_domain_tool(squeezed):
        return tool
    if spellings.RESERVED.fullmatch(squeezed):
        return ALL_RIGHTS_RESERVED
    if template := spellings.public_domain_template(text.replace("_", " ")):
        return template
    if not text.isascii():
        text = "".join(mark for mark in unicodedata.normalize("NFD", text) if not unicodedata.combining(mark))
    for pattern, code in _PHRASES:
        text = pattern.sub(code, text)
    words = [word for word in _SEPARATORS.split(spellings.name_ports(text)) if word]
    unit: list[str] = []
    versions: list[str] = [_version(stated)] if stated else []
    ports: list[str] = []
    fillers = set[str]()
    for word in words:
        if word in _ELEMENT_WORDS:
            unit.append(word)
        elif word == "cc" or word in _FILLERS:
            fillers.add(word)
        elif word in _IDLE_WORDS and unit:
            continue
        elif _VERSION.fullmatch(word):
            versions.append(_version(word))
        elif word == "all" and not versions:  # Cc-by-sa-all: every version up to 3.0
            versions.append("3.0")
        elif word.isalpha() and unit:  # "CC BY 3.0 NO" is Norway's; "no CC BY 3.0" is not
            ports.append(word)
        else:
            return UNKNOWN
    if len(set(unit)) != len(unit) or len(ports) > 1:
        return UNKNOWN
    # A single "by" or "nd" is probably just a word, and a single "Attribution" is another licence on Wikimedia
    # Commons. "Attribution License" is clear.
    if len(unit) < 2 and not versions and "cc" not in fillers and not (fillers and "attribution" in unit):
        return UNKNOWN
    parts = frozenset("by" if word == "attribution" else word for word in unit)
    port = ports[0] if ports else None
    offered = [
        _BY_ELEMENTS.get((parts, version, port), UNKNOWN)
        for version in versions or spellings.ONLY_VERSION.get(parts, [None])
    ]
    if not all(license.known for license in offered):
        return UNKNOWN
    return max(offered, key=lambda license: license.version or "")
