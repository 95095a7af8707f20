"""diffusers' pipelines and samplers, checked before they draw."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers import DDPMScheduler, DiffusionPipeline

from commoncanvas.core.errors import ModelError, RecipeError
from commoncanvas.core.text import one_line
from commoncanvas.diffusion.objective import FLOW
from commoncanvas.models import weights


def pipeline_scheduler(
    training: DDPMScheduler,
    scheduler: str,
    *,
    steps: int,
    guidance_scale: float,
    options: Mapping[str, Any] | None = None,
) -> Any:
    """diffusers' sampler `scheduler`, with its `options`, on the noise schedule that the network was trained with.

    Raises RecipeError if it can't sample `steps` steps with this schedule.
    """
    kind = getattr(diffusers, scheduler, None)
    if kind is None or not scheduler.endswith("Scheduler"):
        raise RecipeError(f"diffusers has no scheduler {scheduler!r}, such as DDIMScheduler")
    options = dict(options or {})
    if training.config.prediction_type == FLOW:
        if "use_flow_sigmas" not in inspect.signature(kind.__init__).parameters:
            raise RecipeError(
                f"{scheduler} can't sample a flow; use UniPCMultistepScheduler or DPMSolverMultistepScheduler"
            )
        options["use_flow_sigmas"] = True
    try:
        sampler = kind.from_config(training.config, **options)
    except (TypeError, ValueError, NotImplementedError, ImportError) as error:
        raise RecipeError(
            f"{scheduler} can't be made with this noise schedule and these options: {one_line(error)}"
        ) from error
    check_settings(sampler, guidance_scale, steps)
    try:
        _check_samples(kind.from_config(training.config, **options), training, steps)
    except (AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise RecipeError(f"{scheduler} can't sample with these settings: {one_line(error)}") from error
    return sampler


def _check_samples(sampler: Any, training: DDPMScheduler, steps: int) -> None:
    """Sample zeros once. Raises RecipeError if the sampler uses another noise schedule than `training`."""
    name = type(sampler).__name__
    sampler.set_timesteps(steps)
    zeros_BCHW = torch.zeros(1, 1, 8, 8)
    for timestep in sampler.timesteps:
        sampler.step(zeros_BCHW, timestep, zeros_BCHW)
    if training.config.prediction_type == FLOW:
        if float(sampler.sigmas[-1]):
            raise RecipeError(
                f"{name} leaves noise in a flow's images; use "
                "UniPCMultistepScheduler or DPMSolverMultistepScheduler"
            )
        return
    # Some samplers ignore fields that they don't know, such as zero terminal SNR.
    if not torch.allclose(sampler.alphas_cumprod, training.alphas_cumprod, rtol=0, atol=1e-5):
        raise RecipeError(
            f"{name} ignores fields of the noise schedule; use DDIMScheduler or another that "
            "supports them all"
        )
    most = len(training) - 1
    if training.config.rescale_betas_zero_snr and int(sampler.timesteps[0]) < most:
        raise RecipeError(
            f"sample: with noise.schedule.rescale_betas_zero_snr, sampling must begin at timestep {most}, pure noise, "
            f"not at {int(sampler.timesteps[0])}; set noise.schedule.timestep_spacing to trailing"
        )


def check_settings(scheduler: Any, guidance_scale: float, steps: int) -> None:
    """Raise RecipeError for a guidance scale or a number of steps that the scheduler can't sample with."""
    most = scheduler.config.num_train_timesteps
    if not 1 <= steps <= most:
        raise RecipeError(f"{steps} sampling steps: give 1 to {most}, the timesteps of the noise schedule")
    if not math.isfinite(guidance_scale) or guidance_scale < 1:
        raise RecipeError(
            f"guidance scale {guidance_scale}: give a number from 1 (no guidance) up, such as 5"
        )


def load_pipeline(model: str) -> DiffusionPipeline:
    """The diffusers pipeline in a model folder or of a hub id. Raises ModelError."""
    folder = Path(model)
    if folder.exists() and not (folder / "model_index.json").is_file():
        raise ModelError(
            f"{model} is not the folder of a diffusion model: it has no model_index.json; "
            "give one that commoncanvas train wrote for a recipe of task diffusion"
        )
    diffusers.utils.logging.disable_progress_bar()  # for reading five small files
    pipeline: DiffusionPipeline = weights.load_pipeline(model)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def denoiser_of(pipeline: Any) -> Any:
    """The U-Net or transformer of a pipeline."""
    return getattr(pipeline, "transformer", None) or pipeline.unet


def image_size(pipeline: Any) -> int:
    """Pixels a side of the images that the pipeline makes by default."""
    return int(denoiser_of(pipeline).config.sample_size * pipeline.vae_scale_factor)


def with_sampler(scheduler: Any, name: str, *, steps: int, guidance_scale: float) -> Any:
    """Another sampler, diffusers' class `name`, on a pipeline's noise schedule. Raises RecipeError."""
    return pipeline_scheduler(
        DDPMScheduler.from_config(scheduler.config), name, steps=steps, guidance_scale=guidance_scale
    )
