"""What a stage is: a small object that reads some columns of a batch of rows and returns new ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import pyarrow as pa
import pyarrow.compute as pc

from commoncanvas.core.errors import CatalogError


class Stage(Protocol):
    """Reads columns, writes columns. Running, resuming and committing are `Catalog.backfill`'s job.

    With an engine of several processes the stage is pickled, so it should load its models in `setup`; with
    one of several threads it is called from all of them at once.
    """

    @property
    def name(self) -> str: ...

    @property
    def reads(self) -> tuple[str, ...]:
        """Columns of the batches that it is called with."""

    @property
    def writes(self) -> tuple[pa.Field, ...]:
        """Columns that it returns; missing ones are added to the table, type and metadata as here."""

    @property
    def done_column(self) -> str:
        """One of `writes`: non-null in each row that has been processed, also in one that failed."""

    @property
    def batch_size(self) -> int:
        """At most this many rows a call."""

    @property
    def todo(self) -> str:
        """SQL of the rows that are work; normally `f"{done_column} IS NULL"`."""

    def setup(self) -> None:
        """Called once a worker, before the first batch."""

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Rows of `reads` -> as many rows of `writes`, in the same order."""


@runtime_checkable
class Preparing(Protocol):
    """What a stage may be besides: one that has a model, and readies a batch on another thread while the model is at
    the one before.
    """

    busy_s: float
    """Seconds that the model was at work; counted by whoever runs the stage."""

    def prepare(self, batch: pa.RecordBatch) -> Callable[[], pa.RecordBatch]:
        """What the stage would return for `batch`, by a call to come."""


@runtime_checkable
class Partial(Protocol):
    """What a stage may be besides: one that leaves its done column null in rows that it can't do. The next run tries
    them again.
    """

    leaves_null: bool


@runtime_checkable
class Counting(Protocol):
    """What a stage may be besides: with an engine of other processes, what its copies count comes home."""

    def take_counts(self) -> Any:
        """What has been counted since the last call; from then on it is counted from nothing."""

    def add_counts(self, counts: Any) -> None:
        """Count what another took."""


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
            "which would come back as work for ever; fix the stage"
        )


def _columns(types: dict[str, pa.DataType]) -> str:
    return ", ".join(f"{name}: {kind}" for name, kind in types.items()) or "no columns"
