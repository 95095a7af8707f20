"""What a licence means, in one sentence for people who have never read one. Pure."""

from __future__ import annotations

from commoncanvas.licenses.values import ALL_RIGHTS_RESERVED, License

UNKNOWN_MEANS = "The licence is not known, so nobody can be sure that they may use this."
CLOSED_MEANS = "Nobody may use this without the permission of whoever holds the rights."
RETIRED_MEANS = "A retired licence that allows only some uses, or uses only in some countries."
FREE_MEANS = "Everybody may use, share and change this for any purpose."


def meaning(license: License) -> str:
    """One sentence. The licence's text decides, not this."""
    if not license.known:
        return UNKNOWN_MEANS
    if license == ALL_RIGHTS_RESERVED:
        return CLOSED_MEANS
    if not license.reusable:
        return RETIRED_MEANS
    if license.public_domain:
        return FREE_MEANS
    uses = "use, share and change this" if license.derivatives else "use this, and share it unchanged"
    purpose = "also commercially" if license.commercial else "but not commercially"
    conditions = [
        *(["name the creator"] if license.attribution else []),
        *(["share changed versions under the same licence"] if license.share_alike else []),
    ]
    ending = f", if they {' and '.join(conditions)}" if conditions else ""
    return f"Everybody may {uses}, {purpose}{ending}."
