"""The two policies: which licences a model may be trained on, in Python and as SQL."""

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
    """The same, and licences that permit only noncommercial use (CommonCanvas-NC)."""


def allows(license: License, policy: Policy, *, allow_no_derivatives: bool = False) -> bool:
    """Whether `policy` allows training on a work under `license`.

    Both policies exclude NoDerivatives licences unless `allow_no_derivatives`: it is not settled whether training
    adapts a work, and this is the safe side. Licences that are not `reusable` (unknown, all rights reserved,
    DevNations, Sampling) are always excluded.
    """
    return (
        license.reusable
        and (license.derivatives or allow_no_derivatives)
        and (license.commercial or policy == Policy.NONCOMMERCIAL)
    )


def sql_filter(policy: Policy, allow_no_derivatives: bool = False) -> str:
    """An SQL predicate over the column `license`: true for exactly the licences that pass `allows`.

    It lists the ids, so that an unknown id or NULL never passes.
    """
    ids = [
        license.id
        for license in LICENSES.values()
        if allows(license, policy, allow_no_derivatives=allow_no_derivatives)
    ]
    listed = ", ".join(f"'{id}'" for id in ids)
    return f"license IN ({listed})"


def named(condition: str) -> str:
    """Replace each predicate of `sql_filter` (8 KB long) in an SQL condition by the policy's name."""
    for name, predicate in _predicates().items():
        condition = condition.replace(predicate, name)
    return condition


def spelled_out(condition: str) -> str:
    """The SQL condition for the result of `named`."""
    for name, predicate in _predicates().items():
        condition = condition.replace(name, predicate)
    return condition


def shortened(condition: str) -> str:
    """A readable SQL condition: `named`, with long lists replaced by their number of values."""
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
