"""What each condition of a filter takes in turn, counted for models of either policy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from commoncanvas import licenses
from commoncanvas.table.filters import Condition
from commoncanvas.table.sql import all_of
from commoncanvas.table.table import Catalog


@dataclass(frozen=True)
class Step:
    """What one condition took from the rows that those before it had left, for models of either policy."""

    name: str
    why: str
    commercial: int
    noncommercial: int


@dataclass(frozen=True)
class Steps:
    """All conditions in turn, of `rows`; what is left for either policy."""

    rows: int
    steps: tuple[Step, ...]
    commercial: int
    noncommercial: int


def count_steps(catalog: Catalog, conditions: Sequence[Condition], within: str | None = None) -> Steps:
    """Count the rows that `within` lets in and that meet the first condition, the first two, and so on.

    A licence condition counts as that of either policy, whichever the filter is for. Raises CatalogError.
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
