"""Validation during training: held-out prompts are drawn with the averaged weights, on all ranks, and measured.

What measures the images is a `Judge` from outside: this room draws and gathers.
Shapes: N prompts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from commoncanvas.config import DiffusionRecipe, Recipe
from commoncanvas.core.errors import RecipeError, TrainingError
from commoncanvas.diffusion.batches import Painter
from commoncanvas.selection.rows import TrainingRows
from commoncanvas.training.distributed.ranks import Ranks
from commoncanvas.training.task import Task
from commoncanvas.training.tasks.diffusion import DiffusionTask

Arrays = dict[str, NDArray[Any]]


class Judge(Protocol):
    """Measures drawn images of held-out prompts against the real ones."""

    prompts: list[str]
    seeds: list[int]

    def measure(self, numbers: Sequence[int], images: Sequence[NDArray[np.uint8]]) -> Arrays:
        """What the figures need of the images [H, W, 3] of some prompts, one row each."""

    def figures(self, measured: Arrays) -> tuple[dict[str, float], dict[str, Mapping[str, Any]]]:
        """The figures of all prompts, and how each was measured, by name; `measured`: the rows of all, in order."""


MakeJudge = Callable[[DiffusionRecipe, TrainingRows, torch.device], Judge]


class Validation:
    """Draws and measures. Every rank must call it; only the main process gets figures."""

    def __init__(self, every: int, task: DiffusionTask, ranks: Ranks, make: Callable[[], Judge]) -> None:
        self.every, self.task, self.ranks = every, task, ranks
        self._make = make
        self._judge: Judge | None = None

    @torch.no_grad()
    def __call__(self, model: nn.Module) -> tuple[dict[str, float], dict[str, Mapping[str, Any]]]:
        """The figures of the model, which each rank holds whole. The state of random generators stays as it is."""
        devices = [self.ranks.device] if self.ranks.device.type == "cuda" else []
        with torch.random.fork_rng(devices):
            # Made late, because training has no use for the networks that measure before this.
            self._judge = judge = self._judge or self._make()
            mine = range(self.ranks.rank, len(judge.prompts), self.ranks.world)
            measured = judge.measure(mine, self._drawn(model, judge, mine))
            parts = self.ranks.gathered((list(mine), measured))
            if not self.ranks.main:
                return {}, {}
            order = np.argsort(np.concatenate([numbers for numbers, _ in parts]))
            rows = {name: np.concatenate([part[name] for _, part in parts])[order] for name in parts[0][1]}
            return judge.figures(rows)

    def _drawn(self, model: nn.Module, judge: Judge, numbers: Sequence[int]) -> list[NDArray[np.uint8]]:
        sample = self.task.recipe.sample
        painter = Painter(self.task.pipeline(model).to(self.ranks.device))
        images = painter.images(
            [judge.prompts[number] for number in numbers],
            seeds=[judge.seeds[number] for number in numbers],
            guidance_scale=sample.guidance_scale,
            steps=sample.steps,
        )
        return [np.asarray(image.convert("RGB")) for image in images]


def validation_of(recipe: Recipe, task: Task, ranks: Ranks, judges: MakeJudge | None) -> Validation | None:
    """What the recipe asks for; None if it doesn't. Raises RecipeError without held-out rows, TrainingError without
    `judges`.
    """
    if not isinstance(recipe, DiffusionRecipe) or recipe.validation is None:
        return None
    assert isinstance(task, DiffusionTask)
    held_out = len(task.rows.ids("heldout"))
    if held_out < max(2, ranks.world):
        raise RecipeError(
            f"{recipe.name}: validation needs at least {max(2, ranks.world)} held-out rows, there are {held_out}; set "
            "data.heldout_fraction, or validation: null"
        )
    if judges is None:
        raise TrainingError(f"{recipe.name}: validation needs what measures images; use commoncanvas.train")
    make = judges
    return Validation(recipe.validation.every, task, ranks, lambda: make(recipe, task.rows, ranks.device))
