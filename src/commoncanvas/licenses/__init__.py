"""Licences: what each permits, which policy allows it, and how licences combine. Pure, no I/O.

`parse` turns any spelling into a licence value. `allows` and `sql_filter` apply a policy. `combine` finds the licence
for a model made from many works. A text that can't be read is `UNKNOWN`, and is never trained on.

This is a careful reading of the licences, not legal advice.
"""

from __future__ import annotations

from commoncanvas.licenses.combine import Combination, combine
from commoncanvas.licenses.meaning import meaning
from commoncanvas.licenses.parse import parse, require
from commoncanvas.licenses.policy import Policy, allows, named, shortened, spelled_out, sql_filter
from commoncanvas.licenses.statements import may_object
from commoncanvas.licenses.values import ALL_RIGHTS_RESERVED, CC0, LICENSES, UNKNOWN, License

__all__ = [
    "ALL_RIGHTS_RESERVED",
    "CC0",
    "LICENSES",
    "UNKNOWN",
    "Combination",
    "License",
    "Policy",
    "allows",
    "combine",
    "may_object",
    "meaning",
    "named",
    "parse",
    "require",
    "shortened",
    "spelled_out",
    "sql_filter",
]
