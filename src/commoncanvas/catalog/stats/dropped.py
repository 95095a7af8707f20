"""Rows that aren't trained on, and why, step by step from the import to a saved filter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow.compute as pc

from commoncanvas import licenses
from commoncanvas.catalog.import_records import ImportRecord, import_records
from commoncanvas.core.errors import CatalogError
from commoncanvas.table.filter_steps import Step, count_steps
from commoncanvas.table.filters import Condition, saved_conditions, where_of
from commoncanvas.table.table import Catalog
from commoncanvas.table.tombstones import Tombstones

_NOT_CURATED = "not curated"


@dataclass(frozen=True)
class FilterSteps:
    """How many rows each condition of a saved filter drops now, in order.

    `steps` and the rows left are counted for both policies. If counting fails, `error` says why.
    """

    name: str
    filter: str
    steps: tuple[Step, ...] = ()
    commercial: int = 0
    noncommercial: int = 0
    error: str | None = None


@dataclass(frozen=True)
class Dropped:
    """What was left out. `imports` and `taken_down` cover the whole catalog, the other fields the counted rows."""

    imports: tuple[ImportRecord, ...]
    taken_down: int
    not_fetched: dict[str, int]
    duplicates: int | None
    """None if duplicates were never searched."""
    filters: tuple[FilterSteps, ...]


def dropped(
    catalog: Catalog, where: str | None, not_fetched: dict[str, int], duplicates: int | None
) -> Dropped:
    """Combine the counts of `stats` with the records of imports, takedowns and filters. Raises CatalogError."""
    stones = Tombstones(catalog.uri, catalog.storage_options)
    stones.refresh()
    return Dropped(
        imports=tuple(import_records(catalog.uri, catalog.storage_options)),
        taken_down=pc.count_distinct(stones.table["image_id"]).as_py(),
        not_fetched=not_fetched,
        duplicates=duplicates,
        filters=tuple(
            filter_steps(catalog, name, conditions, where)
            for name, conditions in saved_conditions(catalog).items()
        ),
    )


def filter_steps(
    catalog: Catalog, name: str, conditions: Sequence[Condition], within: str | None = None
) -> FilterSteps:
    """How many of the rows that match `within` each condition of a saved filter drops, in order."""
    where = where_of(conditions)
    try:
        found = count_steps(catalog, [each for one in conditions for each in _curated_first(one)], within)
    except CatalogError as error:  # for example, a column was dropped since
        return FilterSteps(name, where, error=licenses.shortened(str(error)))
    steps = tuple(
        step for step in found.steps if step.name != _NOT_CURATED or step.commercial or step.noncommercial
    )
    return FilterSteps(name, where, steps, found.commercial, found.noncommercial)


def _curated_first(condition: Condition) -> list[Condition]:
    """Before a condition on a computed column, check that the column has a value: a null is no duplicate."""
    if condition.computed is None:
        return [condition]
    why = "added after the filter was made, or no score could be computed"
    return [Condition(_NOT_CURATED, why, f"{condition.computed} IS NOT NULL"), condition]
