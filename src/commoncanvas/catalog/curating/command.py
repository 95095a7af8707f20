"""Curate: select the rows that are good enough to train on, with an SQL filter; no row is deleted.

Scores and duplicates become columns, and each limit becomes a condition on them. The filter can be saved under a name,
together with the table version that it was made on.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from commoncanvas import licenses
from commoncanvas.catalog.curating.duplicates import DISTANCE, mark_duplicates
from commoncanvas.catalog.curating.neighbours import MAX_DISTANCE
from commoncanvas.catalog.curating.scores import ImageStage, NsfwStage, SharpnessStage
from commoncanvas.catalog.repeated import MANY, repeated, without_repeated
from commoncanvas.core.console import Printed
from commoncanvas.core.errors import CatalogError
from commoncanvas.engine import Engine, engine_of
from commoncanvas.table.backfill import run_shown
from commoncanvas.table.filter_steps import Step, count_steps
from commoncanvas.table.filters import (
    FETCHED,
    Condition,
    check_name,
    describe_counts,
    left_after,
    remedy,
    save_filter,
    where_of,
)
from commoncanvas.table.schema import CHECKED, DUPLICATE_OF, NSFW, SHARPNESS
from commoncanvas.table.sql import all_of
from commoncanvas.table.table import Catalog

if TYPE_CHECKING:
    from rich.console import RenderableType

POLICIES = tuple(policy.value for policy in licenses.Policy)


@dataclass(frozen=True, repr=False)
class CurateReport(Printed):
    """Number of `rows` at `version`, what each step dropped in turn, and the rows left for each policy.

    `filter` is the SQL for `policy`. It is saved as `name`, unless that is None.
    """

    uri: str
    version: int
    policy: str
    name: str | None
    filter: str
    rows: int
    steps: tuple[Step, ...]
    commercial: int
    noncommercial: int

    def render(self) -> RenderableType:
        """What the terminal shows: one line per step."""
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        table = Table("", "C", "NC", "", box=None, header_style="bold", padding=(0, 2, 0, 0))
        table.add_row("rows", f"{self.rows:,}", f"{self.rows:,}", "")
        for step in self.steps:
            table.add_row(step.name, f"−{step.commercial:,}", f"−{step.noncommercial:,}", Text(step.why))
        table.add_row("left", f"{self.commercial:,}", f"{self.noncommercial:,}", "", style="bold")
        for column in table.columns[1:3]:
            column.justify = "right"
        saved = (
            f"saved as {self.name}: to train on these rows, set data.filter: {self.name}, "
            f"or data.tag: {self.name} to leave out rows that are added later"
        )
        lines = [
            saved if self.name else "not saved; save it with --name",
            # Without the long list of licences; --json has it.
            f"filter: {licenses.shortened(self.filter)}",
        ]
        title = Text(f"{self.uri} version {self.version}", style="bold")
        return Group(title, table, *map(Text, lines))


def curate(
    catalog: Catalog | str | Path,
    *,
    policy: str = "noncommercial",
    min_side: int | None = None,
    max_aspect: float | None = None,
    min_sharpness: float | None = None,
    nsfw_max: float | None = None,
    deduplicate: bool = False,
    distance: int = DISTANCE,
    where: str | None = None,
    name: str | None = None,
    engine: Engine | str = "local",
    workers: int | None = None,
) -> CurateReport:
    """Build the filter for these limits, and compute the scores and duplicates that it needs if they are missing.

    `min_side` and `max_aspect` (long side / short side) apply to the original; `min_sharpness` is a variance of the
    Laplacian (see `scores.sharpness`); `nsfw_max` is a probability and needs the extra [nsfw]; `distance` is in bits of
    64. With `name` the table keeps the filter and tags its version: `saved_filter(catalog, name)`. Run it again after
    rows were added or a kept copy was removed: it updates `duplicate_of`. `engine` computes the scores (see
    `engine_of`); duplicates are compared in this process. Raises CatalogError, EngineError, MissingExtraError.
    """
    _check_limits(policy, min_side, max_aspect, min_sharpness, nsfw_max, distance)
    if not isinstance(catalog, Catalog):
        catalog = Catalog.open(catalog)
    if where:
        catalog.count(where)
    chosen = licenses.Policy(policy)
    conditions = [
        Condition("fetched", "no image: not fetched, or the fetch failed", FETCHED),
        Condition(
            "licence", "not allowed by this policy, or unknown", licenses.sql_filter(chosen), licence=True
        ),
    ]
    stages: dict[str, ImageStage] = {}
    if found := repeated(catalog):
        why = f"{MANY} or more addresses gave the same file"
        conditions.append(Condition("placeholders", why, without_repeated(found)))
    if min_side is not None:
        sides = f"original_width >= {min_side} AND original_height >= {min_side}"
        conditions.append(Condition("size", f"short side of the original under {min_side} px", sides))
    if max_aspect is not None:
        shape = f"original_width <= {max_aspect} * original_height AND original_height <= {max_aspect} * original_width"
        conditions.append(Condition("aspect", f"long side over {max_aspect:g} times the short one", shape))
    if where:
        conditions.append(Condition("where", f"not {licenses.shortened(where)}", where))
    if min_sharpness is not None:
        why = f"variance of the Laplacian under {min_sharpness:g}"
        conditions.append(Condition("sharpness", why, f"{SHARPNESS} >= {min_sharpness}", SHARPNESS))
        stages[SHARPNESS] = SharpnessStage()
    if nsfw_max is not None:
        why = f"open_nsfw's score over {nsfw_max:g}"
        conditions.append(Condition("nsfw", why, f"{NSFW} <= {nsfw_max}", NSFW))
        stages[NSFW] = NsfwStage()
    if deduplicate:
        single = f"{CHECKED} IS NOT NULL AND {DUPLICATE_OF} IS NULL"
        why = f"a copy is kept: the same file, or a picture within {distance} bits"
        conditions.append(Condition("duplicates", why, single, CHECKED))

    expression = where_of(conditions)
    engine = engine_of(engine, workers)
    if name is not None:
        check_name(catalog, name, expression)
    for number, condition in enumerate(conditions):
        if condition.computed in stages:
            # Score only rows that pass the earlier conditions for NC, whose licences include those of C.
            earlier = [
                licenses.sql_filter(licenses.Policy.NONCOMMERCIAL) if each.licence else each.where
                for each in conditions[:number]
            ]
            run_shown(catalog, stages[condition.computed], all_of(*earlier), engine)
    if deduplicate:
        mark_duplicates(catalog, distance, engine)
    if name is not None:
        each = [condition.where for condition in conditions]
        left = left_after(catalog, each)
        if not left[-1]:
            # Names are permanent, so a filter without rows must not take one.
            rows = f"{describe_counts(catalog, each, left)}{remedy(catalog, each, left)}"
            raise CatalogError(f"not saved as {name}: no row is left: {rows}")
        save_filter(catalog, name, conditions)
    else:
        catalog.count(expression)
    counted = count_steps(catalog, conditions)
    return CurateReport(
        uri=catalog.uri,
        version=catalog.version,
        policy=chosen.value,
        name=name,
        filter=expression,
        rows=counted.rows,
        steps=counted.steps,
        commercial=counted.commercial,
        noncommercial=counted.noncommercial,
    )


def _check_limits(
    policy: str,
    min_side: int | None,
    max_aspect: float | None,
    min_sharpness: float | None,
    nsfw_max: float | None,
    distance: int,
) -> None:
    if policy not in POLICIES:
        raise CatalogError(f"policy {policy!r} is not one of: {', '.join(POLICIES)}")
    limits = [
        ("min-side", min_side, 1, math.inf, "1 pixel or more"),
        ("max-aspect", max_aspect, 1, math.inf, "1 or more"),
        ("min-sharpness", min_sharpness, 0, math.inf, "0 or more"),
        ("nsfw-max", nsfw_max, 0, 1, "0 to 1"),
        ("distance", distance, 0, MAX_DISTANCE, f"0 to {MAX_DISTANCE} bits of 64"),
    ]
    for name, value, low, high, allowed in limits:
        if value is not None and not (low <= value <= high and math.isfinite(value)):
            raise CatalogError(f"{name} {value} is not one of: {allowed}")
