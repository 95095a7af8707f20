"""The command that takes bad captions out: null, and a status that says by which rule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from commoncanvas.catalog import Catalog
from commoncanvas.catalog.backfill import run
from commoncanvas.catalog.filters import expression
from commoncanvas.catalog.where import all_of
from commoncanvas.console import progress
from commoncanvas.telephoning.rules import Rule, parse_rules

SCAN_ROWS = 65_536


@dataclass
class DropStage:
    """Captions -> null, with the status of the first rule that takes them."""

    column: str
    rules: Sequence[Rule]
    fields: tuple[pa.Field, pa.Field]

    name = "dropped"
    batch_size = 4096

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.column, self.done_column)

    @property
    def writes(self) -> tuple[pa.Field, ...]:
        return self.fields

    @property
    def done_column(self) -> str:
        name: str = self.fields[1].name
        return name

    @property
    def todo(self) -> str:
        return f"{self.column} IS NOT NULL"

    def setup(self) -> None:
        """Nothing to load."""

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        # A caption that has changed since it was judged may be good by now: it stays.
        rows = [
            (None, rule.status) if (rule := first(self.rules, caption)) else (caption, status)
            for caption, status in zip(*(batch[name].to_pylist() for name in self.reads), strict=True)
        ]
        columns = [pa.array(values, pa.string()) for values in zip(*rows, strict=True)]
        return pa.RecordBatch.from_arrays(columns, names=[field.name for field in self.fields])


def drop_captions(
    catalog: str,
    rules: Sequence[str],
    *,
    column: str = "caption",
    where: str | None = None,
    dry_run: bool = False,
) -> dict[str, Any]:
    """Take out the captions in `column` that one of `rules` takes (see `rules.RULES`), or only count them.

    A caption becomes null, its status `dropped_<rule>`; earlier versions of the table still have it. Returns how many
    captions there were, how many each rule takes on its own, and how many are taken by the rules together. Killed and
    run again, it does what is left. Raises CatalogError.
    """
    parsed = parse_rules(rules)
    table = Catalog.open(catalog)
    status = f"{column}_status"
    table.check_columns([column, status])
    stage = DropStage(column, parsed, (table.schema.field(column), table.schema.field(status)))
    condition = all_of(f"{column} IS NOT NULL", expression(table, where))
    alone = dict.fromkeys((rule.text for rule in parsed), 0)
    found: list[Any] = []
    captions = 0
    for batch in table.scan([column], condition, batch_size=SCAN_ROWS, with_row_id=True):
        said, ids = batch[column].to_pylist(), batch["_rowid"].to_numpy()
        bad = np.array([[rule.bad(caption) for rule in parsed] for caption in said], bool).reshape(
            -1, len(parsed)
        )
        captions += len(said)
        for rule, count in zip(parsed, bad.sum(0).tolist(), strict=True):
            alone[rule.text] += count
        found.append(ids[bad.any(1)])
    taken = np.concatenate(found) if found else np.empty(0, np.uint64)
    if len(taken) and not dry_run:
        with progress(stage.name, len(taken), "captions") as bar:
            run(table, stage, where=condition, on_progress=bar.advance, only=taken)
    return {
        "captions": captions,
        "taken_by": alone,
        "dropped" if not dry_run else "would_be_dropped": len(taken),
        "left": captions - len(taken),
    }


def first(rules: Sequence[Rule], caption: str) -> Rule | None:
    """The first rule that takes a caption."""
    return next((rule for rule in rules if rule.bad(caption)), None)
