"""The task of each kind of recipe."""

from __future__ import annotations

from commoncanvas.config import Recipe
from commoncanvas.selection.select import Pins
from commoncanvas.training.task import Task


def make_task(recipe: Recipe, pins: Pins | None = None) -> Task:
    """The task of a recipe. `pins`: versions of its catalogs (default: those of the recipe)."""
    match recipe.task:
        case "captioner":
            from commoncanvas.training.tasks.captioner import CaptionerTask

            return CaptionerTask(recipe, pins)
        case "autoencoder":
            from commoncanvas.training.tasks.autoencoder import AutoencoderTask

            return AutoencoderTask(recipe, pins)
        case "diffusion":
            from commoncanvas.training.tasks.diffusion import DiffusionTask

            return DiffusionTask(recipe, pins)
