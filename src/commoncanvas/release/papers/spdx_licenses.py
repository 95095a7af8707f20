"""Licences as SPDX expressions."""

from __future__ import annotations

import re

from commoncanvas import licenses

PORTS = frozenset(
    """CC-BY-2.5-AU CC-BY-3.0-AT CC-BY-3.0-AU CC-BY-3.0-DE CC-BY-3.0-IGO CC-BY-3.0-NL CC-BY-3.0-US CC-BY-NC-3.0-DE
    CC-BY-NC-ND-3.0-DE CC-BY-NC-ND-3.0-IGO CC-BY-NC-SA-2.0-DE CC-BY-NC-SA-2.0-FR CC-BY-NC-SA-2.0-UK
    CC-BY-NC-SA-3.0-DE CC-BY-NC-SA-3.0-IGO CC-BY-ND-3.0-DE CC-BY-SA-2.0-UK CC-BY-SA-2.1-JP CC-BY-SA-3.0-AT
    CC-BY-SA-3.0-DE CC-BY-SA-3.0-IGO""".split()  # noqa: SIM905
)
"""The ports of Creative Commons licences that SPDX's list has (version 3.28)."""
_UNPORTED = re.compile(r"CC-BY(-NC)?(-ND|-SA)?-(1\.0|2\.0|2\.5|3\.0|4\.0)")
_NAMED = {
    "cc0-1.0": "CC0-1.0",
    "pdm-1.0": "CC-PDM-1.0",
    "apache-2.0": "Apache-2.0",
    "mit": "MIT",
    "bsd-3-clause": "BSD-3-Clause",
    "bsd-2-clause": "BSD-2-Clause",
    "cdla-permissive-2.0": "CDLA-Permissive-2.0",
    "gpl-3.0": "GPL-3.0-only",
    "agpl-3.0": "AGPL-3.0-only",
}
"""Other names of licences -> SPDX's ids."""


def spdx_id(name: str) -> str:
    """A licence's id in SPDX's list, or else a `LicenseRef-` that is made from its name."""
    known = licenses.parse(name)
    id = known.id if known.known else name.strip()
    found = _NAMED.get(id.lower())
    if found or _UNPORTED.fullmatch(id) or id in PORTS:
        return found or id
    return "LicenseRef-" + (re.sub(r"[^A-Za-z0-9.]+", "-", id).strip("-") or "unknown")


def expression(names: list[str]) -> str:
    """The licences of a collection, all of which apply to some of its works: `CC-BY-4.0 AND CC0-1.0`."""
    return " AND ".join(dict.fromkeys(map(spdx_id, names))) or "LicenseRef-unknown"
