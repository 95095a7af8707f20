"""A task: a model, its batches and its loss. The trainer does everything else."""

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
    """One kind of training, made from a recipe. It decides how the recipe's rows are selected."""

    rows: TrainingRows
    model: nn.Module
    parts: tuple[Part, ...]
    """The frozen models that the task uses."""
    notes: tuple[str, ...]
    """Lines to print when a run starts."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns that `batch` reads."""

    def batch(self, table: pa.Table, draws: NDArray[np.float64]) -> Batch:
        """Tensors of one batch, on the CPU, from `columns` of its rows. Runs on the loader's threads.

        `draws`: a random number in [0, 1) for each row and epoch, for random choices while rows are read.
        """

    def random_inputs(self, size: int, batch: Batch, generator: Generator, done: float) -> Batch:
        """Random inputs of a step's samples, [size, ...], on the generator's device; `loss` finds them in the batch.

        `done`, in [0, 1], is the fraction of the training that is done.

        They are drawn for the whole step at once, so that they don't depend on how many parts it is split into.
        `batch` is one of the parts; all have the same shapes.
        """

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Mean loss of samples, a scalar. It draws no random numbers, so a step can be repeated."""

    def save_samples(self, model: nn.Module, path: Path) -> None:
        """Write a picture with the model's current outputs."""

    def export(self, model: nn.Module, folder: Path) -> dict[str, Any]:
        """Write the finished model in its library's own format; returns figures for provenance.json."""


HALFWAY = 0.5
"""`done` for held-out losses and counts of FLOPs: always the same, so that they can be compared."""


def first_batch(task: Task, size: int, seed: int = 0, kind: int | None = None) -> Batch:
    """A batch of the first `size` training rows (of `kind`, if given) with its random inputs, on the CPU."""
    kinds = task.rows.kinds_of("train")
    places = np.flatnonzero(kinds == kind) if kind is not None else np.arange(len(kinds))
    table = task.rows.read("train", places[:size], list(task.columns))
    batch = task.batch(table, np.zeros(size))
    return batch | task.random_inputs(size, batch, Generator().manual_seed(seed), HALFWAY)


# Raised by diffusers' classes for unknown fields, wrong values, and values that don't fit together.
_MISFITS = (TypeError, ValueError, ArithmeticError, RuntimeError, LookupError, AttributeError)


@contextmanager
def configuring(problem: str) -> Iterator[None]:
    """A block that builds or runs what a recipe configures, so that a mistake is found before training.

    Raises RecipeError: `problem`, and the reason.
    """
    try:
        yield
    except _MISFITS as error:
        raise RecipeError(f"{problem}: {one_line(error)}") from error
