"""The licence value, and the table of every licence that CommonCanvas knows.

The table says which Creative Commons tools exist: unit, version and jurisdiction port, 639 in all, as
Creative Commons' own list has them (https://github.com/creativecommons/cc-legal-tools-data,
config/cc-legal-tools.csv). What each permits follows the licence elements and, for the retired tools,
Creative Commons' machine-readable descriptions (https://creativecommons.org/ns,
https://github.com/cc-archive/cc.licenserdf).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class License:
    """One licence, dedication or mark. Two values are equal when their ids are.

    `id` is canonical and safe inside an SQL string: SPDX's id where SPDX has one (`CC-BY-NC-SA-2.0`,
    `CC0-1.0`, `CC-BY-3.0-DE`), and the same form where it has none. A port to a jurisdiction keeps its
    suffix, since it is a text of its own with an address of its own, which the credits must link to.
    `PDM-1.0` is the Public Domain Mark (SPDX: `CC-PDM-1.0`, also read).
    """

    id: str
    name: str = field(compare=False)
    """As people write it: `CC BY-NC-SA 2.0`."""
    url: str | None = field(compare=False)
    """Its canonical address; None where there is no one text to link to, as for `CC-BY` of no stated version.
    """
    version: str | None = field(compare=False)
    jurisdiction: str | None = field(compare=False)
    """The port, in Creative Commons' own codes: `de`, `uk`, `scotland`, `igo`; None for the unported licence.
    """
    reusable: bool = field(compare=False)
    """Whether anyone, anywhere, may reuse the work in every manner that the next four fields leave open.
    False for `unknown`, for `all-rights-reserved` and for retired tools that cover some nations (DevNations)
    or some kinds of adaptation (Sampling) only; what is not reusable is never trained on."""
    commercial: bool = field(compare=False)
    derivatives: bool = field(compare=False)
    share_alike: bool = field(compare=False)
    attribution: bool = field(compare=False)
    """Whether the licence itself demands credit. CommonCanvas credits every creator whatever this says."""
    public_domain: bool = field(compare=False)
    """Dedicated to, marked as in, or stated to be in the public domain: imposes no condition."""

    def __str__(self) -> str:
        return self.id

    @property
    def known(self) -> bool:
        """False for `unknown` only."""
        return self.id != "unknown"


_SUITE = ("by", "by-nc", "by-nc-nd", "by-nc-sa", "by-nd", "by-sa")
_FIRST_SUITE = ("by", "by-nc", "by-nd-nc", "by-nc-sa", "by-nd", "by-sa")
_WITHOUT_BY = ("nc", "nc-sa", "nd", "nd-nc", "sa")

# (version, units, ports that these units have at this version).
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

# SPDX writes the elements of this one in the order of its successors, Creative Commons in the order of its
# address.
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
    """The licence elements of a unit, whatever their order: `by-nd-nc` -> {by, nd, nc}."""
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
        # The five units without BY ask for their notice to be kept, not for credit.
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
    # Grants nothing, so that there is nothing to put conditions on.
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
# Retired in 2010; lived at https://creativecommons.org/licenses/publicdomain/ before.
PUBLIC_DOMAIN_CERTIFICATION = _public_domain(
    "CC-PDDC",
    "Public Domain Certification 1.0 US",
    "https://creativecommons.org/publicdomain/certification/1.0/us/",
    "1.0",
    "us",
)
# Somebody states that the work is in the public domain, in words of their own (Wikimedia's PD-old, PD-self,
# ...).
PUBLIC_DOMAIN = _public_domain("PD", "Public domain", None, None)
# In the public domain in the United States (17 U.S.C. 105); other countries may see it otherwise.
US_GOVERNMENT = _public_domain(
    "PD-USGov", "United States Government Work", "https://www.usa.gov/government-copyright", None
)
# The word of a Flickr Commons institution, as strong as the Public Domain Mark's "free of known
# restrictions".
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
    # What says "CC BY" and no version is known in what it permits, the same in all versions, but has no one
    # address. Only for the six units still offered: "CC NC" without a version is hardly ever the licence NC
    # 1.0 of 2002.
    for unit in _SUITE:
        yield (unit, None, None), _creative_commons(unit, None, None)


TOOLS: Mapping[tuple[str, str | None, str | None], License] = MappingProxyType(dict(_tools()))
"""(unit, version, port) -> licence, for Creative Commons' licences. Units as in its addresses: `by-nd-nc`,
`sampling+`."""

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
"""Every value there is, by canonical id, `all-rights-reserved` and `unknown` included."""
