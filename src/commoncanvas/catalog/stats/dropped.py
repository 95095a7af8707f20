"""What isn't trained on, step by step, and why: from the import to a saved filter."""

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
    """What each condition of a saved filter takes now from the rows that those before it leave.

    `steps` and the rows left are for models of either policy; where they can't be counted `error` says why.
    """

    name: str
    filter: str
    steps: tuple[Step, ...] = ()
    commercial: int = 0
    noncommercial: int = 0
    error: str | None = None


@dataclass(frozen=True)
class Dropped:
    """`imports`, and the images `taken_down` and kept out, are of the whole catalog, the rest of the rows counted."""

    imports: tuple[ImportRecord, ...]
    taken_down: int
    not_fetched: dict[str, int]
    duplicates: int | None
    """None if nobody has looked for them."""
    filters: tuple[FilterSteps, ...]


def dropped(
    catalog: Catalog, where: str | None, not_fetched: dict[str, int], duplicates: int | None
) -> Dropped:
    """Put together what `stats` has counted and what is recorded elsewhere. Raises CatalogError."""
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
    """What the conditions of a saved filter take in turn from the rows that `within` lets in."""
    where = where_of(conditions)
    try:
        found = count_steps(catalog, [each for one in conditions for each in _curated_first(one)], within)
    except CatalogError as error:  # such as for a column that was dropped since
        return FilterSteps(name, where, error=licenses.shortened(str(error)))
    steps = tuple(
        step for step in found.steps if step.name != _NOT_CURATED or step.commercial or step.noncommercial
    )
    return FilterSteps(name, where, steps, found.commercial, found.noncommercial)


def _curated_first(condition: Condition) -> list[Condition]:
    """A condition on what `curate` computes, after that it was computed at all: a row that nobody has looked at is no
    duplicate.
    """
    if condition.computed is None:
        return [condition]
    why = "came after the filter was made, or can't be judged"
    return [Condition(_NOT_CURATED, why, f"{condition.computed} IS NOT NULL"), condition]
