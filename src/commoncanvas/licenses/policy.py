"""Which licences a model may be trained on: the two policies, in Python and as SQL."""

from __future__ import annotations

from enum import StrEnum

from commoncanvas.licenses.values import LICENSES, License


class Policy(StrEnum):
    """The two sides of the CommonCanvas paper (arXiv 2310.16825): -C and -NC models."""

    COMMERCIAL = "commercial"
    """Licences that permit commercial use (CommonCanvas-C)."""
    NONCOMMERCIAL = "noncommercial"
    """Those, and licences that permit noncommercial use only (CommonCanvas-NC)."""


def allows(license: License, policy: Policy, *, allow_no_derivatives: bool = False) -> bool:
    """Whether `policy` lets a model be trained on a work under `license`.

    NoDerivatives licences are out of both policies unless `allow_no_derivatives`: whether training adapts a
    work is open, and this is the side on which nobody is wronged. What is not `reusable` (unknown, all rights
    reserved, DevNations, Sampling) is out whatever the arguments.
    """
    return (
        license.reusable
        and (license.derivatives or allow_no_derivatives)
        and (license.commercial or policy == Policy.NONCOMMERCIAL)
    )


def sql_filter(policy: Policy, allow_no_derivatives: bool = False, column: str = "license") -> str:
    """An SQL predicate over canonical ids in `column`, true for exactly the licences that `allows` lets in.

    It lists them, so that an id that nobody knows (or NULL) is never let in by looking like one that is
    known.
    """
    ids = [
        license.id
        for license in LICENSES.values()
        if allows(license, policy, allow_no_derivatives=allow_no_derivatives)
    ]
    listed = ", ".join(f"'{id}'" for id in ids)
    return f"{column} IN ({listed})"
