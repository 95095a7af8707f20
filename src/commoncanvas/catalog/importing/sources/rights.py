"""The licence of a record. All fields about rights are read; if two contradict each other, the record is skipped."""

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
    """The licence in the fields `given` (name -> value); if several fields name it, the most specific form.

    Returns None and reports why if no known licence is named or two differ. `notices` are fields such as "copyright":
    a text there that names no licence matters only if it may forbid a use. `version` applies to each text without a
    version. `default` is for a record that states nothing.
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
            # "Public domain" has no version, so the stated version belongs to another field.
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
    """The texts of each field. A value that can't be read counts as a statement too."""
    return [
        (name, text)
        for name, value in given.items()
        for text in fields.statements(value)
        or ([] if fields.is_blank(value) else [f"not text, but {type(value).__name__}"])
    ]


def agree(one: License, other: License) -> bool:
    """Whether both permit the same, so that the more specific one can represent both."""
    terms = ("reusable", "commercial", "derivatives", "share_alike", "attribution", "public_domain")
    if any(getattr(one, term) != getattr(other, term) for term in terms):
        return False
    # Versions and ports of a licence have different texts; the public domain has no licence text.
    exact = ((one.version, other.version), (one.jurisdiction, other.jurisdiction))
    return one.public_domain or all(None in pair or pair[0] == pair[1] for pair in exact)
