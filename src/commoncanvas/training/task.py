"""What a task is: a model, a batch and a loss. Everything else about training belongs to the trainer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from torch import Generator, Tensor, nn

from commoncanvas.core.errors import RecipeError
from commoncanvas.core.text import one_line
from commoncanvas.provenance.record import Part
from commoncanvas.selection.rows import TrainingRows

Batch = dict[str, Tensor]


class Task(Protocol):
    """One kind of training. Built from a recipe, whose rows it says how to choose."""

    rows: TrainingRows
    model: nn.Module
    parts: tuple[Part, ...]
    """The frozen models that it is built on."""
    notes: tuple[str, ...]
    """Lines to be said as a run begins."""

    @property
    def columns(self) -> tuple[str, ...]:
        """What `batch` reads of its rows."""

    def batch(self, table: pa.Table, draws: NDArray[np.float64]) -> Batch:
        """Tensors of one batch, on the CPU, from `columns` of its rows. Runs on the loader's thread.

        `draws`: a number in [0, 1) for each row and epoch, for what is to be drawn where rows are read.
        """

    def random_inputs(self, size: int, batch: Batch, generator: Generator, done: float) -> Batch:
        """What a step draws for its samples, [size, ...], on the generator's device; `loss` finds it in the batch.

        `done`, in [0, 1], is the share of the training that lies behind.

        For all of them at once, so that it doesn't matter in how many parts they then go through the model; `batch`
        is such a part, whose shapes the others have too.
        """

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Mean loss of some samples, a scalar; it draws nothing itself, so a step can be repeated."""

    def save_samples(self, model: nn.Module, path: Path) -> None:
        """Write a picture of what the model can do by now."""

    def export(self, model: nn.Module, folder: Path) -> dict[str, Any]:
        """Write the finished model in its library's own format; returns figures for provenance.json."""


HALFWAY = 0.5
"""Where in a training held-out losses and counts of FLOPs draw as if they were: one place, so that they compare."""


def first_batch(task: Task, size: int, seed: int = 0, kind: int | None = None) -> Batch:
    """A batch of the first `size` rows to train on, those of `kind` where there are several, with what a step draws for
    it, on the CPU.
    """
    kinds = task.rows.kinds_of("train")
    places = np.flatnonzero(kinds == kind) if kind is not None else np.arange(len(kinds))
    table = task.rows.read("train", places[:size], list(task.columns))
    batch = task.batch(table, np.zeros(size))
    return batch | task.random_inputs(size, batch, Generator().manual_seed(seed), HALFWAY)


# What diffusers' classes raise for a field that they don't have, a value that doesn't fit, or one that others don't.
_MISFITS = (TypeError, ValueError, ArithmeticError, RuntimeError, LookupError, AttributeError)


@contextmanager
def configuring(what: str) -> Iterator[None]:
    """Build, or run once on nothing, what a recipe configures: one that can't be is found before a training.

    Raises RecipeError: `what`, and the reason.
    """
    try:
        yield
    except _MISFITS as error:
        raise RecipeError(f"{what}: {one_line(error)}") from error
