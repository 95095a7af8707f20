"""Which licences a model may be trained on: the two policies, in Python and as SQL."""

from __future__ import annotations

import re
from enum import StrEnum
from functools import cache
from itertools import product

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


def named(condition: str) -> str:
    """An SQL condition with the policy's name in place of each predicate of `sql_filter`, which is 8 KB long."""
    for name, predicate in _predicates().items():
        condition = condition.replace(predicate, name)
    return condition


def spelled_out(condition: str) -> str:
    """SQL of what `named` made."""
    for name, predicate in _predicates().items():
        condition = condition.replace(name, predicate)
    return condition


def shortened(condition: str) -> str:
    """An SQL condition for people to read: `named`, and with the number of values where it lists many."""
    return _MANY.sub(lambda found: f"IN ({found[0].count(chr(39)) // 2} values)", named(condition))


_MANY = re.compile(r"IN \(('[^']*'(, )?){6,}\)")


@cache
def _predicates() -> dict[str, str]:
    return {
        f"license IN ({policy} licences{', NoDerivatives too' if allowed else ''})": sql_filter(
            policy, allowed
        )
        for policy, allowed in product(Policy, (False, True))
    }
