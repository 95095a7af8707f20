"""Sampling through diffusers' own pipeline: one seed an image, so that an image never depends on its batch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import diffusers
import torch
from diffusers import DDPMScheduler, DiffusionPipeline

from commoncanvas.config import SampleConfig
from commoncanvas.errors import ModelError, RecipeError

if TYPE_CHECKING:
    from PIL.Image import Image


def pipeline_scheduler(training: DDPMScheduler, sample: SampleConfig) -> Any:
    """The sampler that the recipe names, on the noise schedule that the network was trained with."""
    kind = getattr(diffusers, sample.scheduler, None)
    if kind is None or not sample.scheduler.endswith("Scheduler"):
        raise RecipeError(f"sample.scheduler: diffusers has no scheduler {sample.scheduler!r}")
    return kind.from_config(training.config, **sample.options)


def load_pipeline(model: str) -> DiffusionPipeline:
    """The diffusers pipeline in a model folder or of a hub id. Raises ModelError."""
    folder = Path(model)
    if folder.exists() and not (folder / "model_index.json").is_file():
        raise ModelError(
            f"{model} is not a model folder: it has no model_index.json; train a diffusion recipe first"
        )
    diffusers.utils.logging.disable_progress_bar()  # a bar for reading five small files
    try:
        pipeline = DiffusionPipeline.from_pretrained(model, use_safetensors=True, safety_checker=None)
    except (OSError, ValueError) as error:
        raise ModelError(f"model {model} can't be loaded: {' '.join(str(error).split())[:300]}") from error
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def generate_images(
    pipeline: DiffusionPipeline,
    prompts: Sequence[str],
    *,
    seeds: Sequence[int],
    guidance_scale: float,
    steps: int,
    **options: Any,
) -> list[Image]:
    """One image a prompt; image i is drawn from `seeds[i]` alone. All are made in one batch."""
    pipeline.set_progress_bar_config(disable=True)
    generators = [torch.Generator("cpu").manual_seed(seed) for seed in seeds]
    images: list[Image] = pipeline(
        prompt=list(prompts),
        generator=generators,
        guidance_scale=guidance_scale,
        num_inference_steps=steps,
        **options,
    ).images
    return images
