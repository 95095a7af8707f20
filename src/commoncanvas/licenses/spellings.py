"""Spellings without a rule: Flickr's ids and names, public-domain tools and templates, names of ports."""

from __future__ import annotations

import re

from commoncanvas.licenses.values import (
    ALL_RIGHTS_RESERVED,
    CC0,
    LICENSES,
    NO_KNOWN_COPYRIGHT,
    PUBLIC_DOMAIN,
    PUBLIC_DOMAIN_CERTIFICATION,
    PUBLIC_DOMAIN_MARK,
    US_GOVERNMENT,
    License,
)

# Response of flickr.photos.licenses.getInfo on 2025-06-19, the day after Flickr added version 4.0
# (https://www.flickr.com/services/api/flickr.photos.licenses.getInfo.html).
_FLICKR_IDS: dict[int, License] = {
    0: ALL_RIGHTS_RESERVED,
    1: LICENSES["CC-BY-NC-SA-2.0"],
    2: LICENSES["CC-BY-NC-2.0"],
    3: LICENSES["CC-BY-NC-ND-2.0"],
    4: LICENSES["CC-BY-2.0"],
    5: LICENSES["CC-BY-SA-2.0"],
    6: LICENSES["CC-BY-ND-2.0"],
    7: NO_KNOWN_COPYRIGHT,
    8: US_GOVERNMENT,
    9: CC0,
    10: PUBLIC_DOMAIN_MARK,
    11: LICENSES["CC-BY-4.0"],
    12: LICENSES["CC-BY-SA-4.0"],
    13: LICENSES["CC-BY-ND-4.0"],
    14: LICENSES["CC-BY-NC-4.0"],
    15: LICENSES["CC-BY-NC-SA-4.0"],
    16: LICENSES["CC-BY-NC-ND-4.0"],
}

# Before that day Flickr's names had no version and meant 2.0, the only one it offered.
_FLICKR_NAMES: dict[str, License] = {
    "attribution-noncommercial-sharealike license": LICENSES["CC-BY-NC-SA-2.0"],
    "attribution-noncommercial license": LICENSES["CC-BY-NC-2.0"],
    "attribution-noncommercial-noderivs license": LICENSES["CC-BY-NC-ND-2.0"],
    "attribution license": LICENSES["CC-BY-2.0"],
    "attribution-sharealike license": LICENSES["CC-BY-SA-2.0"],
    "attribution-noderivs license": LICENSES["CC-BY-ND-2.0"],
}
_FLICKR = _FLICKR_NAMES | {str(id): license for id, license in _FLICKR_IDS.items()}

# Words with a special meaning in one source. YFCC100M contains Flickr's photos.
OF_SOURCE: dict[str, dict[str, License]] = {
    "flickr": _FLICKR,
    "yfcc": _FLICKR,
    "yfcc100m": _FLICKR,
    # Wikimedia Commons' short name for {{Flickr-no known copyright restrictions}}.
    "wikimedia": {"no restrictions": NO_KNOWN_COPYRIGHT},
}

# Paths below https://creativecommons.org/publicdomain/.
PUBLIC_DOMAIN_TOOLS: dict[tuple[str, ...], License] = {
    ("zero",): CC0,
    ("zero", "1.0"): CC0,
    ("mark",): PUBLIC_DOMAIN_MARK,
    ("mark", "1.0"): PUBLIC_DOMAIN_MARK,
    ("certification",): PUBLIC_DOMAIN_CERTIFICATION,
    ("certification", "1.0"): PUBLIC_DOMAIN_CERTIFICATION,
    ("certification", "1.0", "us"): PUBLIC_DOMAIN_CERTIFICATION,
}

# Other addresses that Flickr links to, without scheme and "www.".
ADDRESSES: dict[str, License] = {
    "flickr.com/commons/usage": NO_KNOWN_COPYRIGHT,
    "usa.gov/copyright.shtml": US_GOVERNMENT,
    "usa.gov/government-copyright": US_GOVERNMENT,
}

# These tools only ever had one version.
ONLY_VERSION: dict[frozenset[str], list[str | None]] = {
    frozenset(("sampling",)): ["1.0"],
    frozenset(("sampling+",)): ["1.0"],
    frozenset(("nc", "sampling+")): ["1.0"],
    frozenset(("devnations",)): ["2.0"],
}


# Words that may occur beside "CC0" and "Public Domain Mark" in their names. Both only ever had version 1.0.
_TOOL_WORDS = (
    r"cc|creative commons|1|v?\.? ?1[. _]0|v1|version|universal|licen[cs]e|waiver|deed|legal ?code|public domain|"
    r"dedication|tool"
)
_TOOLS = {
    r"cc ?0|(?:cc|creative commons) ?zero|creative commons 0": CC0,
    r"pdm|(?:pd|public domain) mark": PUBLIC_DOMAIN_MARK,
}
_TOOL_NAMES = [
    (re.compile(rf"(?:(?:{_TOOL_WORDS}) )*(?:{name})(?: (?:{_TOOL_WORDS}|{name}))*"), license)
    for name, license in _TOOLS.items()
]


def public_domain_tool(name: str) -> License | None:
    """The licence for a lower-case name with single spaces (`cc0 1.0 universal deed`), or None."""
    return next((license for pattern, license in _TOOL_NAMES if pattern.fullmatch(name)), None)


# Lower-case names; each run of separators is one space.
NAMES: dict[str, License] = {
    # Names on Flickr's pages, and of Wikimedia's template for photos with Flickr's mark.
    "public domain work": PUBLIC_DOMAIN_MARK,
    "flickr public domain mark": PUBLIC_DOMAIN_MARK,
    "cc pd": PUBLIC_DOMAIN_CERTIFICATION,
    "cc pddc": PUBLIC_DOMAIN_CERTIFICATION,
    "certification": PUBLIC_DOMAIN_CERTIFICATION,
    "certification 1.0 us": PUBLIC_DOMAIN_CERTIFICATION,
    "public domain certification": PUBLIC_DOMAIN_CERTIFICATION,
    "public domain certification 1.0 us": PUBLIC_DOMAIN_CERTIFICATION,
    "creative commons public domain dedication and certification": PUBLIC_DOMAIN_CERTIFICATION,
    "pd": PUBLIC_DOMAIN,
    "public domain": PUBLIC_DOMAIN,
    "publicdomain": PUBLIC_DOMAIN,
    "public domain dedication": PUBLIC_DOMAIN,
    "in the public domain": PUBLIC_DOMAIN,
    **{
        f"this {thing} is in the public domain": PUBLIC_DOMAIN for thing in ("work", "image", "file", "photo")
    },
    "us government work": US_GOVERNMENT,
    "u.s. government work": US_GOVERNMENT,
    "united states government work": US_GOVERNMENT,
    "no known copyright restrictions": NO_KNOWN_COPYRIGHT,
    "flickr no known copyright restrictions": NO_KNOWN_COPYRIGHT,
}

_RESERVED = (
    "all rights reserved|alle rechte vorbehalten|tous (?:les )?droits (?:reserves|réservés)|"
    "todos los derechos reservados|tutti i diritti (?:sono )?riservati|todos os direitos reservados|"
    "alle rechten voorbehouden"
)
_NOTICE = r"(?:©|\(c\)|copyright\b)[^|;]{0,100}?"
RESERVED = re.compile(rf"(?:{_NOTICE}\s*)?(?:{_RESERVED})[\s.,!-]*(?:{_NOTICE})?")
"""Names of `ALL_RIGHTS_RESERVED`: the words alone, or with the owner's name."""

# Templates with a reason that applies everywhere or in the United States: expired, released, not original
# enough (https://commons.wikimedia.org/wiki/Commons:Copyright_tags/General_public_domain). Templates for the law of
# another country (PD-India, PD-Italy, ...) don't cover the rest of the world, so they stay unknown.
_PUBLIC_DOMAIN_TEMPLATE = re.compile(
    r"pd-(?:old|anon|self|user|author|released?|heirs|art|scan|us|expired|1923|1996|ineligible|shape|text|"
    r"textlogo|simple|trivial)(?:-[a-z0-9]+)*(?: (?:notice|renewed))?"
)
_US_GOVERNMENT_TEMPLATE = re.compile(r"pd-us-?gov(?:-[a-z0-9]+)*")


def public_domain_template(name: str) -> License | None:
    """The licence for a lower-case Wikimedia template name (`pd-old-100-expired`, `pd-usgov-nasa`), or None."""
    if _US_GOVERNMENT_TEMPLATE.fullmatch(name):
        return US_GOVERNMENT
    return PUBLIC_DOMAIN if _PUBLIC_DOMAIN_TEMPLATE.fullmatch(name) else None


# Names of Creative Commons' licence elements in other common languages, without accents.
TRANSLATED = (
    (
        r"nicht[\s-]?kommerziell|(?:pas d')?utilisation non[\s-]?commerciale|pas d'?utilisations? commerciales?",
        "nc",
    ),
    (r"no[\s-]?comercial|non[\s-]?commerciale|nao[\s-]?comercial|niet[\s-]?commercieel", "nc"),
    (r"weitergabe unter gleichen bedingungen|partage dans les memes conditions|partage a l'identique", "sa"),
    (r"compartir[\s-]?igual|condividi allo stesso modo|compartilha[\s-]?igual|gelijk[\s-]?delen", "sa"),
    (r"keine[\s-]?bearbeitung(?:en)?|pas de modifications?|sin[\s-]?(?:obra)?[\s-]?derivadas?", "nd"),
    (r"non opere derivate|sem[\s-]?deriva(?:coes|dos)|geen[\s-]?afgeleide[\s-]?werken", "nd"),
    (r"namensnennung|reconocimiento|atribucion|attribuzione|atribuicao|naamsvermelding", "attribution"),
)
TRANSLATED_FILLERS = (
    "lizenz",
    "licencia",
    "licenza",
    "licenca",
    "licentie",
    "internacional",
    "internationale",
    "internazionale",
    "internationaal",
)

# Creative Commons' English names of jurisdictions, if they differ from the code.
_COUNTRIES = {
    "deutschland": "de", "osterreich": "at", "schweiz": "ch", "espana": "es", "italia": "it", "brasil": "br",
    "nederland": "nl", "polska": "pl", "suisse": "ch",
    "argentina": "ar", "armenia": "am", "australia": "au", "austria": "at", "azerbaijan": "az",
    "belgium": "be", "brazil": "br", "bulgaria": "bg", "canada": "ca", "chile": "cl",
    "china mainland": "cn", "colombia": "co", "costa rica": "cr", "croatia": "hr",
    "czech republic": "cz", "denmark": "dk", "ecuador": "ec", "egypt": "eg", "england & wales": "uk",
    "england and wales": "uk", "estonia": "ee", "finland": "fi", "france": "fr", "georgia": "ge",
    "germany": "de", "greece": "gr", "guatemala": "gt", "hong kong": "hk", "hungary": "hu",
    "india": "in", "intergovernmental organization": "igo", "ireland": "ie", "israel": "il",
    "italy": "it", "japan": "jp", "korea": "kr", "luxembourg": "lu", "macedonia": "mk",
    "mainland china": "cn", "malaysia": "my", "malta": "mt", "mexico": "mx", "netherlands": "nl",
    "new zealand": "nz", "norway": "no", "peru": "pe", "philippines": "ph", "poland": "pl",
    "portugal": "pt", "puerto rico": "pr", "romania": "ro", "serbia": "rs", "singapore": "sg",
    "slovenia": "si", "south africa": "za", "spain": "es", "sweden": "se", "switzerland": "ch",
    "taiwan": "tw", "thailand": "th", "uganda": "ug", "uk: england & wales": "uk",
    "uk: scotland": "scotland", "united kingdom": "uk", "united states": "us", "venezuela": "ve",
    "vietnam": "vn",
}  # fmt: skip
_COUNTRY = re.compile(rf"\b(?:{'|'.join(sorted(map(re.escape, _COUNTRIES), key=len, reverse=True))})\b")


def name_ports(text: str) -> str:
    """`attribution 3.0 germany` -> `attribution 3.0 de`."""
    return _COUNTRY.sub(lambda match: _COUNTRIES[match[0]], text)
