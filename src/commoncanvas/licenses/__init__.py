"""The licence algebra: what a licence permits, which policy admits it, what licences make together. Pure, no
I/O.

`parse` reads what the world writes into one value, `allows` and `sql_filter` apply a policy, `combine` says
which licence a model made from many works should carry. What can't be read is `UNKNOWN`, and unknown is never
trained on.

This is a reading of the licences for the careful, not legal advice.
"""

from __future__ import annotations

from commoncanvas.licenses.combine import Combination, combine
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
    "named",
    "parse",
    "require",
    "shortened",
    "spelled_out",
    "sql_filter",
]
