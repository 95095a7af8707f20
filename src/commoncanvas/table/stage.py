"""The protocol of a stage: an object that reads columns of a batch of rows and returns new columns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import pyarrow as pa
import pyarrow.compute as pc

from commoncanvas.core.errors import CatalogError


class Stage(Protocol):
    """Reads columns, writes columns. `Catalog.backfill` runs, resumes and commits it.

    An engine with several processes pickles the stage, so it should load its models in `setup`. An engine with
    several threads calls it from all of them at the same time.
    """

    @property
    def name(self) -> str: ...

    @property
    def reads(self) -> tuple[str, ...]:
        """Columns of the input batches."""

    @property
    def writes(self) -> tuple[pa.Field, ...]:
        """Columns that it returns. Missing ones are added to the table, with this type and metadata."""

    @property
    def done_column(self) -> str:
        """One of `writes`: non-null in each processed row, also if the row failed."""

    @property
    def batch_size(self) -> int:
        """Most rows per call."""

    @property
    def todo(self) -> str:
        """SQL for the rows to process; normally `f"{done_column} IS NULL"`."""

    def setup(self) -> None:
        """Called once per worker, before the first batch."""

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Rows of `reads` -> as many rows of `writes`, in the same order."""


@runtime_checkable
class Preparing(Protocol):
    """Optional protocol of a stage with a model: it prepares a batch on another thread while the model runs."""

    busy_s: float
    """Seconds that the model ran. The code that runs the stage counts them."""

    def prepare(self, batch: pa.RecordBatch) -> Callable[[], pa.RecordBatch]:
        """A function that returns the stage's result for `batch`."""


@runtime_checkable
class Partial(Protocol):
    """What a stage may be besides: one that leaves its done column null in rows that it can't do. The next run tries
    them again.
    """

    leaves_null: bool


@runtime_checkable
class Counting(Protocol):
    """Optional protocol of a stage that counts: copies in other processes send their counts to the driver."""

    def take_counts(self) -> Any:
        """Return the counts, and reset them."""

    def add_counts(self, counts: Any) -> None:
        """Add the counts of another copy."""


def check_result(stage: Stage, batch: pa.RecordBatch, result: pa.RecordBatch) -> None:
    """Raise CatalogError if `result` is not what a stage must return for `batch`."""
    wanted = {field.name: field.type for field in stage.writes}
    got = {field.name: field.type for field in result.schema}
    if got != wanted:
        raise CatalogError(
            f"stage {stage.name} must return {_columns(wanted)}, but returned {_columns(got)}; fix the stage"
        )
    if len(result) != len(batch):
        raise CatalogError(f"stage {stage.name} returned {len(result)} rows for {len(batch)}; fix the stage")
    unmarked = pc.sum(pc.is_null(result.column(stage.done_column))).as_py() or 0
    if unmarked and not isinstance(stage, Partial):
        raise CatalogError(
            f"stage {stage.name} left {stage.done_column} null in {unmarked} of {len(batch)} rows, "
            "so they would be processed again and again; fix the stage"
        )


def _columns(types: dict[str, pa.DataType]) -> str:
    return ", ".join(f"{name}: {kind}" for name, kind in types.items()) or "no columns"
