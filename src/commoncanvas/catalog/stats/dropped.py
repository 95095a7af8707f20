"""What isn't trained on, step by step, and why: from the import to a saved filter."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pyarrow.compute as pc

from commoncanvas import licenses
from commoncanvas.catalog.curating.command import Step
from commoncanvas.catalog.import_records import ImportRecord, import_records
from commoncanvas.core.errors import CatalogError
from commoncanvas.table.filters import saved_filters
from commoncanvas.table.schema import CHECKED, DUPLICATE_OF, NSFW, SHARPNESS
from commoncanvas.table.sql import all_of, parts
from commoncanvas.table.table import Catalog
from commoncanvas.table.tombstones import Tombstones

# Columns that `curate` computes. They are null in rows that came later, and in those that it could not judge.
_COMPUTED = (CHECKED, SHARPNESS, NSFW)
_NOT_CURATED = "not curated"
# Name and reason of what `curate` asks for, by its SQL.
_KNOWN = (
    (r"fetch_status = 'ok'", "fetched", "no image: not fetched, or that failed"),
    (
        r"original_width >= (\d+) AND original_height >= \1",
        "size",
        r"short side of the original under \1 px",
    ),
    (
        r"original_width <= (\S+) \* original_height AND original_height <= \1 \* original_width",
        "aspect",
        r"long side over \1 times the short one",
    ),
    (rf"{SHARPNESS} >= (\S+)", "sharpness", r"variance of the Laplacian under \1"),
    (rf"{NSFW} <= (\S+)", "nsfw", r"open_nsfw's score over \1"),
    (
        rf"({'|'.join(_COMPUTED)}) IS NOT NULL",
        _NOT_CURATED,
        "came after the filter was made, or can't be judged",
    ),
    (
        f"{CHECKED} IS NOT NULL AND {DUPLICATE_OF} IS NULL",
        "duplicates",
        "the same file or picture is kept once",
    ),
)
_LICENSES = {licenses.sql_filter(policy) for policy in licenses.Policy}


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
    catalog: Catalog, filter: str | None, not_fetched: dict[str, int], duplicates: int | None
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
            filter_steps(catalog, name, expression, filter)
            for name, expression in saved_filters(catalog).items()
        ),
    )


def filter_steps(catalog: Catalog, name: str, expression: str, within: str | None = None) -> FilterSteps:
    """What the conditions of `expression` take in turn from the rows that `within` lets in."""
    counted: dict[str, int] = {}

    def left(conditions: list[str], policy: licenses.Policy) -> int:
        own = [licenses.sql_filter(policy) if each in _LICENSES else each for each in conditions]
        whole = all_of(within, *own)
        if whole not in counted:
            counted[whole] = catalog.count(whole)
        return counted[whole]

    conditions = [part for condition in parts(expression) for part in _told_apart(condition)]
    try:
        commercial, noncommercial = (
            [left(conditions[:step], policy) for step in range(len(conditions) + 1)]
            for policy in licenses.Policy
        )
    except CatalogError as error:  # such as for a column that was dropped since
        return FilterSteps(name, expression, error=licenses.shortened(str(error)))
    steps = tuple(
        Step(
            *_described(condition),
            commercial[step] - commercial[step + 1],
            noncommercial[step] - noncommercial[step + 1],
        )
        for step, condition in enumerate(conditions)
    )
    steps = tuple(
        step for step in steps if step.name != _NOT_CURATED or step.commercial or step.noncommercial
    )
    return FilterSteps(name, expression, steps, commercial[-1], noncommercial[-1])


def _told_apart(condition: str) -> list[str]:
    """A condition on what `curate` computes, after that it was computed at all: a row that nobody has looked at is no
    duplicate.
    """
    for column in _COMPUTED:
        if condition.startswith(column) and any(re.fullmatch(known, condition) for known, _, _ in _KNOWN):
            return [f"{column} IS NOT NULL", condition]
    return [condition]


def _described(condition: str) -> tuple[str, str]:
    if condition in _LICENSES:
        return "licence", "not for this policy, or unknown"
    for pattern, name, why in _KNOWN:
        if match := re.fullmatch(pattern, condition):
            return name, match.expand(why)
    return "where", f"not {licenses.shortened(condition)}"
