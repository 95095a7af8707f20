"""Count the rows that each condition of a filter drops, for each licence policy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from commoncanvas import licenses
from commoncanvas.table.filters import Condition
from commoncanvas.table.sql import all_of
from commoncanvas.table.table import Catalog


@dataclass(frozen=True)
class Step:
    """Rows that one condition drops after the conditions before it, for each policy."""

    name: str
    why: str
    commercial: int
    noncommercial: int


@dataclass(frozen=True)
class Steps:
    """All conditions in order, starting from `rows` rows, and the rows left for each policy."""

    rows: int
    steps: tuple[Step, ...]
    commercial: int
    noncommercial: int


def count_steps(catalog: Catalog, conditions: Sequence[Condition], within: str | None = None) -> Steps:
    """Count the rows in `within` that meet the first condition, the first two, and so on.

    A licence condition is replaced by the condition of each policy. Raises CatalogError.
    """
    counted: dict[str, int] = {}

    def left(policy: licenses.Policy) -> list[int]:
        own = [licenses.sql_filter(policy) if each.licence else each.where for each in conditions]
        wholes = [all_of(within, *own[:step]) for step in range(len(own) + 1)]
        for whole in wholes:
            if whole not in counted:
                counted[whole] = catalog.count(whole)
        return [counted[whole] for whole in wholes]

    commercial, noncommercial = map(left, licenses.Policy)
    steps = tuple(
        Step(
            each.name,
            each.why,
            commercial[step] - commercial[step + 1],
            noncommercial[step] - noncommercial[step + 1],
        )
        for step, each in enumerate(conditions)
    )
    return Steps(commercial[0], steps, commercial[-1], noncommercial[-1])
