"""The command that drops bad captions: it sets them to null, and their status to the rule."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from commoncanvas.captioning.quality.report import check_text
from commoncanvas.captioning.quality.rules import MIN_CLIP, Rule, known, parse_rules, status
from commoncanvas.catalog import Catalog
from commoncanvas.core.console import Printed, progress
from commoncanvas.core.errors import CatalogError
from commoncanvas.core.tables import headed
from commoncanvas.core.text import counted
from commoncanvas.table.backfill import run, run_shown
from commoncanvas.table.filters import expression
from commoncanvas.table.sql import all_of

if TYPE_CHECKING:
    from rich.console import RenderableType

    from commoncanvas.captioning.quality.clip import ClipModel, ClipStage

SCAN_ROWS = 65_536


@dataclass(frozen=True)
class Least:
    """The rule `min-clip`: drop captions whose cosine with their image, in the column `scores`, is below `cosine`."""

    cosine: float
    scores: str

    @property
    def text(self) -> str:
        return f"{MIN_CLIP}={self.cosine:g}"

    def bad(self, score: float | None) -> bool:
        """A missing score, or NaN for an unreadable image, is not bad."""
        return score is not None and score < self.cosine


@dataclass(frozen=True, repr=False)
class DropResult(Printed):
    """Of `captions` captions, those that each rule matches alone (`taken_by`) and after the rules before it
    (`taken_in_order`). `dropped`: how many were dropped, or would be (`dry_run`); `left`: how many stay.
    """

    captions: int
    taken_by: dict[str, int]
    taken_in_order: dict[str, int]
    dropped: int
    left: int
    dry_run: bool

    def render(self) -> RenderableType:
        from rich.console import Group
        from rich.text import Text

        table = headed("rule", "alone", "in order")
        for rule, count in self.taken_by.items():
            table.add_row(Text(rule), f"{count:,}", f"{self.taken_in_order[rule]:,}")
        dropped = "would be dropped" if self.dry_run else "dropped"
        return Group(
            table,
            Text(f"{counted(self.captions, 'captions')}: {self.dropped:,} {dropped}, {self.left:,} left"),
        )


@dataclass
class DropStage:
    """Sets bad captions to null, with the status of the first rule that matches."""

    column: str
    rules: Sequence[Rule]
    fields: tuple[pa.Field, pa.Field]
    least: Least | None = None

    name = "dropped"
    batch_size = 4096

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.column, self.done_column, *([self.least.scores] if self.least else []))

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
        # A caption that changed since it was checked may be good, so it stays. Its score is null.
        names = [rule.status for rule in self.rules] + [status(MIN_CLIP)] * (self.least is not None)
        captions, statuses = (batch[name].to_pylist() for name in self.reads[:2])
        taken = first_of(judged(batch, self.column, self.rules, self.least))
        rows = [
            (None, names[rule]) if rule >= 0 else (caption, before or "ok")
            for caption, before, rule in zip(captions, statuses, taken.tolist(), strict=True)
        ]
        columns = [pa.array(values, pa.string()) for values in zip(*rows, strict=True)]
        return pa.RecordBatch.from_arrays(columns, names=[field.name for field in self.fields])


def drop_captions(
    catalog: Catalog | str | Path,
    rules: Sequence[str],
    *,
    column: str = "caption",
    where: str | None = None,
    min_clip: float | None = None,
    clip: ClipModel | None = None,
    dry_run: bool = False,
) -> DropResult:
    """Drop the captions in `column` that match one of `rules` (see `rules.RULES`). With `dry_run`, only count them.

    `min_clip`: also drop captions whose cosine with their image, by `clip`, is lower. The cosines are stored in
    `<column>_clip`, and computed again for new captions. A dropped caption becomes null, with the status
    `dropped_<rule>`; earlier versions of the table still have it. If it was killed, run it again: it does the rest.
    Raises CatalogError.
    """
    parsed = parse_rules(rules)
    if not parsed and min_clip is None:
        raise CatalogError(f"no rule was given; the rules are: {known()}, and --min-clip")
    if min_clip is None and clip is not None:
        raise CatalogError("--clip alone drops nothing; also give --min-clip, a cosine such as 0.2")
    if min_clip is not None and (clip is None or not -1 <= min_clip <= 1):
        raise CatalogError(
            f"min-clip {min_clip:g}: give a cosine from -1 to 1, such as 0.2, and a model: --clip"
        )
    table = catalog if isinstance(catalog, Catalog) else Catalog.open(catalog)
    check_text(table, column)
    done = f"{column}_status"
    if done not in table.schema.names:
        raise CatalogError(
            f"column {column} of {table.uri} has no column {done}, which is needed to mark dropped captions; make it "
            f"with: commoncanvas caption --catalog {shlex.quote(table.uri)} --model MODEL --column {column} --overwrite"
        )
    condition = all_of(f"{column} IS NOT NULL", expression(table, where))
    scoring = least = None
    if min_clip is not None and clip is not None:
        from commoncanvas.captioning.quality.clip import ClipStage

        scoring, least = ClipStage(table, column, clip), Least(min_clip, f"{column}_clip")
        if not dry_run:
            run_shown(table, scoring, condition)
    texts = [rule.text for rule in parsed] + ([least.text] if least else [])
    alone, in_order = np.zeros(len(texts), np.int64), np.zeros(len(texts), np.int64)
    found: list[NDArray[np.uint64]] = []
    captions = 0
    for batch in _batches(table, column, condition, least, scoring if dry_run else None):
        bad = judged(batch, column, parsed, least)
        taken = first_of(bad)
        captions += len(batch)
        alone += bad.sum(0)
        in_order += np.bincount(taken[taken >= 0], minlength=len(texts))
        found.append(batch["_rowid"].to_numpy()[taken >= 0])
    row_ids = np.concatenate(found) if found else np.empty(0, np.uint64)
    if len(row_ids) and not dry_run:
        fields = (table.schema.field(column), table.schema.field(done))
        stage = DropStage(column, parsed, fields, least)
        with progress(stage.name, len(row_ids), "captions") as bar:
            run(table, stage, where=condition, on_progress=bar.advance, only=row_ids)
    return DropResult(
        captions,
        dict(zip(texts, alone.tolist(), strict=True)),
        dict(zip(texts, in_order.tolist(), strict=True)),
        len(row_ids),
        captions - len(row_ids),
        dry_run,
    )


def judged(
    batch: pa.RecordBatch, column: str, rules: Sequence[Rule], least: Least | None
) -> NDArray[np.bool_]:
    """N rows -> [N, rules]: which rules match which row; `least` comes last. None matches a row without a caption."""
    columns = [
        [caption is not None and rule.bad(caption) for caption in batch[column].to_pylist()] for rule in rules
    ]
    if least:
        columns.append([least.bad(score) for score in batch[least.scores].to_pylist()])
    return np.array(columns, bool).T


def first_of(bad: NDArray[np.bool_]) -> NDArray[np.int64]:
    """[N, rules] -> [N]: the first rule that matches each row, -1 for none."""
    return np.where(bad.any(1), bad.argmax(1), -1)


def _batches(
    table: Catalog, column: str, condition: str, least: Least | None, scoring: ClipStage | None
) -> Iterator[pa.RecordBatch]:
    """Captions with their row ids, and with scores if needed. `scoring` computes scores here, without storing them."""
    if scoring is None:
        columns = [column, *([least.scores] if least else [])]
        yield from table.scan(columns, condition, batch_size=SCAN_ROWS, with_row_id=True)
        return
    with progress(scoring.name, table.count(condition), "captions") as bar:
        for batch in table.scan(scoring.reads, condition, batch_size=scoring.batch_size, with_row_id=True):
            yield batch.append_column(scoring.done_column, scoring(batch)[scoring.done_column])
            bar.advance(len(batch))
