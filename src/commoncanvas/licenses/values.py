"""The licence value, and the table of all licences that CommonCanvas knows.

The table lists the 639 Creative Commons tools by unit, version and jurisdiction port, as in Creative Commons' own list
(https://github.com/creativecommons/cc-legal-tools-data, config/cc-legal-tools.csv). The permissions follow from the
licence elements and, for retired tools, from Creative Commons' machine-readable descriptions
(https://creativecommons.org/ns, https://github.com/cc-archive/cc.licenserdf).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class License:
    """A licence, dedication or mark. Two values are equal if their ids are equal.

    `id` is canonical and safe in an SQL string. It is SPDX's id (`CC-BY-NC-SA-2.0`, `CC0-1.0`, `CC-BY-3.0-DE`), or has
    the same form if SPDX has none. A port to a jurisdiction keeps its suffix: it is a separate text with its own
    address, and credits must link to it. `PDM-1.0` is the Public Domain Mark (SPDX's `CC-PDM-1.0` is read too).
    """

    id: str
    name: str = field(compare=False)
    """Name for people: `CC BY-NC-SA 2.0`."""
    url: str | None = field(compare=False)
    """Canonical address; None if there is no single text, as for `CC-BY` without version."""
    version: str | None = field(compare=False)
    jurisdiction: str | None = field(compare=False)
    """The port, in Creative Commons' codes: `de`, `uk`, `scotland`, `igo`; None for the unported licence."""
    reusable: bool = field(compare=False)
    """Whether everyone everywhere may reuse the work, within the next four fields.
    False for `unknown`, for `all-rights-reserved` and for retired tools that cover only some nations (DevNations)
    or only some adaptations (Sampling). Such works are never trained on."""
    commercial: bool = field(compare=False)
    derivatives: bool = field(compare=False)
    share_alike: bool = field(compare=False)
    attribution: bool = field(compare=False)
    """Whether the licence demands credit. CommonCanvas credits every creator in any case."""
    public_domain: bool = field(compare=False)
    """Dedicated to the public domain, or marked or stated to be in it: there are no conditions."""

    def __str__(self) -> str:
        return self.id

    @property
    def known(self) -> bool:
        """False only for `unknown`."""
        return self.id != "unknown"


_SUITE = ("by", "by-nc", "by-nc-nd", "by-nc-sa", "by-nd", "by-sa")
_FIRST_SUITE = ("by", "by-nc", "by-nd-nc", "by-nc-sa", "by-nd", "by-sa")
_WITHOUT_BY = ("nc", "nc-sa", "nd", "nd-nc", "sa")

# (version, units, ports of these units in this version).
_TOOLS: tuple[tuple[str, tuple[str, ...], str], ...] = (
    ("1.0", _FIRST_SUITE, "unported fi il nl"),
    ("1.0", _WITHOUT_BY, "unported fi nl"),
    ("1.0", ("sampling",), "unported br tw"),
    ("1.0", ("sampling+",), "unported br de tw"),
    ("1.0", ("nc-sampling+",), "unported tw"),
    ("2.0", _SUITE, "unported at au be br ca cl de es fr hr it jp kr nl pl tw uk za"),
    ("2.0", _WITHOUT_BY, "jp"),
    ("2.0", ("devnations",), "unported"),
    ("2.1", _SUITE, "au ca es jp"),
    (
        "2.5",
        _SUITE,
        "unported ar au bg br ca ch cn co dk es hr hu il in it mk mt mx my nl pe pl pt scotland se si tw za",
    ),
    (
        "3.0",
        _SUITE,
        "unported am at au az br ca ch cl cn cr cz de ec ee eg es fr ge gr gt hk hr ie igo it lu nl no nz ph "
        "pl pr pt ro rs sg th tw ug us ve vn za",
    ),
    ("4.0", _SUITE, "unported"),
)

# For `by-nd-nc` SPDX uses the order of later versions; Creative Commons' address has the old order.
_ID_UNITS = {
    "by-nd-nc": "BY-NC-ND",
    "sampling": "Sampling",
    "sampling+": "Sampling-Plus",
    "nc-sampling+": "NC-Sampling-Plus",
    "devnations": "DevNations",
}
_NAME_UNITS = {
    "sampling": "Sampling",
    "sampling+": "Sampling+",
    "nc-sampling+": "NC-Sampling+",
    "devnations": "DevNations",
}


def elements(unit: str) -> frozenset[str]:
    """The licence elements of a unit, as a set: `by-nd-nc` -> {by, nd, nc}."""
    return frozenset(unit.split("-"))


def _creative_commons(unit: str, version: str | None, port: str | None) -> License:
    parts = elements(unit)
    suffix = "" if version is None else f"-{version}" + (f"-{port.upper()}" if port else "")
    address = f"{version}/{port}/" if port else f"{version}/"
    return License(
        id=f"CC-{_ID_UNITS.get(unit, unit.upper())}{suffix}",
        name=f"CC {_NAME_UNITS.get(unit, unit.upper())}{suffix.replace('-', ' ')}",
        url=None if version is None else f"https://creativecommons.org/licenses/{unit}/{address}",
        version=version,
        jurisdiction=port,
        reusable=not parts & {"sampling", "sampling+", "devnations"},
        commercial="nc" not in parts,
        derivatives="nd" not in parts,
        share_alike="sa" in parts,
        # The five units without BY require that their notice is kept, but no credit.
        attribution=unit not in _WITHOUT_BY,
        public_domain=False,
    )


def _public_domain(
    id: str, name: str, url: str | None, version: str | None, port: str | None = None
) -> License:
    return License(
        id=id,
        name=name,
        url=url,
        version=version,
        jurisdiction=port,
        reusable=True,
        commercial=True,
        derivatives=True,
        share_alike=False,
        attribution=False,
        public_domain=True,
    )


def _closed(id: str, name: str) -> License:
    # It grants nothing, so it has no conditions.
    return License(
        id=id,
        name=name,
        url=None,
        version=None,
        jurisdiction=None,
        reusable=False,
        commercial=False,
        derivatives=False,
        share_alike=False,
        attribution=False,
        public_domain=False,
    )


UNKNOWN = _closed("unknown", "Unknown licence")
ALL_RIGHTS_RESERVED = _closed("all-rights-reserved", "All rights reserved")

CC0 = _public_domain("CC0-1.0", "CC0 1.0", "https://creativecommons.org/publicdomain/zero/1.0/", "1.0")
PUBLIC_DOMAIN_MARK = _public_domain(
    "PDM-1.0", "Public Domain Mark 1.0", "https://creativecommons.org/publicdomain/mark/1.0/", "1.0"
)
# Retired in 2010; its earlier address was https://creativecommons.org/licenses/publicdomain/.
PUBLIC_DOMAIN_CERTIFICATION = _public_domain(
    "CC-PDDC",
    "Public Domain Certification 1.0 US",
    "https://creativecommons.org/publicdomain/certification/1.0/us/",
    "1.0",
    "us",
)
# Somebody states in other words that the work is in the public domain (Wikimedia's PD-old, PD-self, ...).
PUBLIC_DOMAIN = _public_domain("PD", "Public domain", None, None)
# In the public domain in the United States (17 U.S.C. 105); other countries may decide differently.
US_GOVERNMENT = _public_domain(
    "PD-USGov", "United States Government Work", "https://www.usa.gov/government-copyright", None
)
# A statement by a Flickr Commons institution, as strong as the Public Domain Mark ("free of known restrictions").
NO_KNOWN_COPYRIGHT = _public_domain(
    "no-known-copyright-restrictions",
    "No known copyright restrictions",
    "https://www.flickr.com/commons/usage/",
    None,
)


def _tools() -> Iterator[tuple[tuple[str, str | None, str | None], License]]:
    for version, units, ports in _TOOLS:
        for unit in units:
            for port in ports.split():
                key = (unit, version, None if port == "unported" else port)
                yield key, _creative_commons(*key)
    # "CC BY" without version: its permissions are the same in all versions, but it has no single address. Only for
    # the six current units: "CC NC" without version hardly ever means the licence NC 1.0 of 2002.
    for unit in _SUITE:
        yield (unit, None, None), _creative_commons(unit, None, None)


TOOLS: Mapping[tuple[str, str | None, str | None], License] = MappingProxyType(dict(_tools()))
"""(unit, version, port) -> licence of Creative Commons. Units are those of its addresses: `by-nd-nc`, `sampling+`."""

LICENSES: Mapping[str, License] = MappingProxyType(
    {
        license.id: license
        for license in (
            *TOOLS.values(),
            CC0,
            PUBLIC_DOMAIN_MARK,
            PUBLIC_DOMAIN_CERTIFICATION,
            PUBLIC_DOMAIN,
            US_GOVERNMENT,
            NO_KNOWN_COPYRIGHT,
            ALL_RIGHTS_RESERVED,
            UNKNOWN,
        )
    }
)
"""Canonical id -> licence, for all values, including `all-rights-reserved` and `unknown`."""
