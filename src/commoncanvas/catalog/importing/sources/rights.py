"""Which licence a record names: every field that speaks of rights is read, and two that differ let nothing in."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from types import MappingProxyType
from typing import Any

from commoncanvas import licenses
from commoncanvas.catalog.importing.sources import fields
from commoncanvas.licenses import License
from commoncanvas.table.report import Report

_NOTHING: Mapping[str, Any] = MappingProxyType({})


def read_license(
    where: str,
    given: Mapping[str, Any],
    report: Report,
    *,
    notices: Mapping[str, Any] = _NOTHING,
    version: Any = None,
    source: str | None = None,
    default: License | None = None,
) -> License | None:
    """The one licence that the fields `given` (name -> value) speak of, the most exact where several do.

    None, told to `report`, where they name none that is known, or where two differ. `notices` are fields such as
    "copyright": a text there that names no licence counts only if it may withhold a use. `version` is of every
    text that says none itself. `default` is for a record that says nothing.
    """
    stated = next(iter(fields.texts(version)), None)
    known: list[License] = []
    unread: list[tuple[str, str]] = []
    for name, text in _statements(given) + _statements(notices):
        shown = f"field {name}: {text[:100]!r}"
        license = licenses.parse(text, stated, source=source)
        if stated and not license.known:
            alone = licenses.parse(text, source=source)
            if alone.version is not None:
                report.skip(where, "contradictory licences", f"{alone.id} and version {stated[:20]!r}")
                return None
            # "Public domain" has no version, so the one that is stated is of another field.
            license = alone if alone.public_domain else license
        if license.known:
            known.append(license)
        elif name in given or default is None or licenses.may_object(text, default):
            unread.append((shown, text))
    if not known:
        if unread:
            report.skip(where, "unknown licence", unread[0][0])
            return None
        if default is None:
            report.skip(where, "no licence", f"field {next(iter(given), 'license')} is empty")
        return default
    known = list(dict.fromkeys(known))
    best = max(known, key=lambda license: (license.version is not None, license.jurisdiction is not None))
    pairs = [(one.id, other.id) for one, other in combinations(known, 2) if not agree(one, other)]
    pairs += [(best.id, shown) for shown, text in unread if licenses.may_object(text, best)]
    if pairs:
        report.skip(where, "contradictory licences", " and ".join(pairs[0]))
        return None
    return best


def _statements(given: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What each field says. A value that is there and can't be read says something as well."""
    return [
        (name, text)
        for name, value in given.items()
        for text in fields.statements(value)
        or ([] if fields.is_blank(value) else [f"no text, but a {type(value).__name__}"])
    ]


def agree(one: License, other: License) -> bool:
    """Whether both permit the same, so that naming the more exact of them names both."""
    terms = ("reusable", "commercial", "derivatives", "share_alike", "attribution", "public_domain")
    if any(getattr(one, term) != getattr(other, term) for term in terms):
        return False
    # Versions and ports of one licence differ in their text; what is in the public domain has no text to differ in.
    exact = ((one.version, other.version), (one.jurisdiction, other.jurisdiction))
    return one.public_domain or all(None in pair or pair[0] == pair[1] for pair in exact)
