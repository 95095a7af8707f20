"""Draw images with a diffusers pipeline, in batches of one fixed shape.

The shape of a batch decides which kernels run, and so the last bits of a sum. With one shape, an image depends only on
its own prompt and seed: it is the same alone and in any list, bit for bit on a CPU. The pipeline alone, which draws
batches of other shapes, gives the same image but for these bits.

Shapes: B images in a batch; L tokens of a text, D channels of their states.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import torch
from diffusers import DDPMScheduler
from diffusers.models.attention_processor import AttnProcessor, AttnProcessor2_0
from torch import Tensor

from commoncanvas.core.errors import RecipeError
from commoncanvas.core.text import one_line
from commoncanvas.diffusion.sampling import check_settings, denoiser_of, image_size
from commoncanvas.models.devices import DTYPES

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline
    from PIL.Image import Image

CELLS = {"cpu": 512, "cuda": 16 * 64 * 64}
"""Latent cells of a batch, by type of device: small images are drawn faster together, large ones fill it alone."""
MOST = {"cpu": 8, "cuda": 64}
"""Most images of a batch. On a CPU, more are no faster."""
PLAIN_CELLS = 1024
"""Most latent cells of an image whose attention a CPU computes in bf16 as plain products. torch's fused attention is
slower there, but needs no memory for the products, which are as large as the square of the cells.
"""
PLAIN_ATTENTION = AttnProcessor()
KEPT = 64
"""Prompts whose text states are kept."""
PIXART = "PixArtAlphaPipeline"
STATES = {
    "StableDiffusionPipeline": ("prompt_embeds", "negative_prompt_embeds"),
    "StableDiffusionXLPipeline": (
        "prompt_embeds",
        "negative_prompt_embeds",
        "pooled_prompt_embeds",
        "negative_pooled_prompt_embeds",
    ),
    PIXART: (
        "prompt_embeds",
        "prompt_attention_mask",
        "negative_prompt_embeds",
        "negative_prompt_attention_mask",
    ),
}
"""What the `encode_prompt` of a pipeline returns, by the names that its call takes. Others get the prompts."""


OnStep = Callable[[int, int, Tensor], None]
"""(first, step, latents [B, C, H, W]): image `first` of those asked for is the first of these latents."""


class Painter:
    """Draws with a pipeline, and keeps the text states of the last prompts."""

    def __init__(self, pipeline: DiffusionPipeline) -> None:
        self.pipeline: Any = pipeline
        self.pipeline.set_progress_bar_config(disable=True)
        self.at_once: dict[tuple[int, int], int] = {}
        """Images of a batch, by height and width."""
        self._states = lru_cache(KEPT)(self._encode)

    def images(
        self,
        prompts: Sequence[str],
        *,
        seeds: Sequence[int],
        guidance_scale: float,
        steps: int,
        negative_prompts: Sequence[str] | None = None,
        height: int | None = None,
        width: int | None = None,
        precision: str = "fp32",
        on_step: OnStep | None = None,
    ) -> Iterator[Image]:
        """Draw one image for each prompt. Image i depends only on prompt, negative prompt and seed i.

        Default size: that of the training images, in pixels. `precision`: that of the products, a name in DTYPES; see
        `products_in`. `on_step` is called after each step, if the pipeline can do so; what it raises stops the batch.
        Raises RecipeError for settings that don't work.
        """
        check_precision(precision, self.pipeline.device)
        check_settings(self.pipeline.scheduler, guidance_scale, steps)
        for seed in seeds:
            if not 0 <= seed < 2**63:
                raise RecipeError(f"seed {seed}: give a whole number from 0 to 2^63 - 1")
        size = image_size(self.pipeline)
        settings = {
            "guidance_scale": guidance_scale,
            "num_inference_steps": steps,
            "height": height or size,
            "width": width or size,
        }
        texts = list(zip(prompts, negative_prompts or [""] * len(prompts), seeds, strict=True))
        return self._drawn(texts, settings, precision, on_step)

    def _drawn(
        self,
        texts: Sequence[tuple[str, str, int]],
        settings: Mapping[str, Any],
        precision: str,
        on_step: OnStep | None,
    ) -> Iterator[Image]:
        place = settings["height"], settings["width"]
        start = 0
        while start < len(texts):
            size = self.batch_size(*place)
            chosen = texts[start : start + size]
            stepwise = _after_steps(self.pipeline, on_step, start) if on_step is not None else {}
            try:
                filled = [*chosen, *[chosen[-1]] * (size - len(chosen))]
                images = self._batch(filled, {**settings, **stepwise}, precision)
            except torch.OutOfMemoryError:
                if size == 1:
                    raise
                self.at_once[place] = size // 2
                torch.cuda.empty_cache()
                continue
            yield from images[: len(chosen)]
            start += len(chosen)

    def batch_size(self, height: int, width: int) -> int:
        """Images of a batch: it depends on the model, the size and the device alone, and on memory that ran out."""
        return self.at_once.setdefault((height, width), self._batch_size(height, width))

    def _batch_size(self, height: int, width: int) -> int:
        return batch_size(self.pipeline, self.pipeline.device.type, height, width)

    def _batch(
        self, texts: Sequence[tuple[str, str, int]], settings: Mapping[str, Any], precision: str
    ) -> list[Image]:
        prompts, negatives, seeds = zip(*texts, strict=True)
        generators = [torch.Generator("cpu").manual_seed(seed) for seed in seeds]
        conditions = self._conditions(prompts, negatives, settings["guidance_scale"] > 1)
        cells = cells_of(self.pipeline, settings["height"], settings["width"])
        try:
            with products_in(precision, self.pipeline, cells):
                return call(self.pipeline, generator=generators, **conditions, **settings)
        except ValueError as error:  # diffusers checks sizes
            raise RecipeError(
                f"{settings['width']} x {settings['height']} pixels: {one_line(error)}"
            ) from error

    def _conditions(self, prompts: Sequence[str], negatives: Sequence[str], guided: bool) -> dict[str, Any]:
        """The pipeline's arguments for the texts: their states, or for an unknown pipeline the texts themselves."""
        names = STATES.get(type(self.pipeline).__name__)
        if names is None:
            # Without a negative prompt, some pipelines take zeros in place of an empty text's states.
            return {"prompt": list(prompts)} | (
                {"negative_prompt": list(negatives)} if any(negatives) else {}
            )
        each = [
            self._states(prompt, negative, guided)
            for prompt, negative in zip(prompts, negatives, strict=True)
        ]
        found: dict[str, Any] = {
            name: torch.cat(parts) for name, *parts in zip(names, *each, strict=True) if parts[0] is not None
        }
        # PixArt's default is an empty text, which it refuses beside states.
        return found | {"prompt": None, "negative_prompt": None}

    @torch.no_grad()
    def _encode(self, prompt: str, negative: str, guided: bool) -> Sequence[Tensor | None]:
        """States [1, L, D] and the others of STATES, of one text, which therefore don't depend on others either."""
        pixart = _is_pixart(self.pipeline)
        states: Sequence[Tensor | None] = self.pipeline.encode_prompt(
            prompt=prompt,
            negative_prompt=negative or ("" if pixart else None),
            do_classifier_free_guidance=guided,
            device=self.pipeline.device,
            num_images_per_prompt=1,
            **(pixart_options(self.pipeline) if pixart else {}),
        )
        return states


def check_precision(precision: str, device: torch.device) -> None:
    """Raise RecipeError for a precision in which this device doesn't draw."""
    if precision not in DTYPES:
        raise RecipeError(f"precision {precision!r}: give one of {', '.join(DTYPES)}")
    if precision == "fp16" and device.type == "cpu":
        raise RecipeError("precision fp16 needs a GPU; on a CPU, give fp32 or bf16")


@contextmanager
def products_in(precision: str, pipeline: Any, cells: int) -> Iterator[None]:
    """Let a pipeline compute its products in this precision, and the rest in fp32, by torch's autocast.

    Latents, noise schedule and guidance stay in fp32: in bf16, guidance would multiply what was rounded. `cells` of an
    image's latents decide how a CPU computes attention.
    """
    if precision == "fp32":
        yield
        return
    denoiser, device = denoiser_of(pipeline), pipeline.device.type
    hook = denoiser.register_forward_hook(
        lambda module, inputs, output: (
            (output[0].float(), *output[1:]) if isinstance(output, tuple) else output
        )
    )
    fused = dict(getattr(denoiser, "attn_processors", {}))
    plain = (
        device == "cpu"
        and cells <= PLAIN_CELLS
        and {type(each) for each in fused.values()} == {AttnProcessor2_0}
    )
    if plain:
        denoiser.set_attn_processor(PLAIN_ATTENTION)
    try:
        with torch.autocast(device, DTYPES[precision]):
            yield
    finally:
        hook.remove()
        if plain:
            denoiser.set_attn_processor(fused)


def batch_size(pipeline: Any, device: str, height: int, width: int) -> int:
    """Images of a batch on a type of device."""
    return max(1, min(MOST.get(device, 1), CELLS.get(device, 0) // cells_of(pipeline, height, width)))


def cells_of(pipeline: Any, height: int, width: int) -> int:
    """Latent cells of an image."""
    side = int(pipeline.vae_scale_factor)
    return max(1, height // side) * max(1, width // side)


def _is_pixart(pipeline: Any) -> bool:
    """By the name: to import the class takes longer than a small model needs to draw."""
    return any(kind.__name__ == PIXART for kind in type(pipeline).__mro__)


def pixart_options(pipeline: Any) -> dict[str, Any]:
    """PixArt's defaults are for its own lengths and captions; these are of our training."""
    return {"max_sequence_length": pipeline.tokenizer.model_max_length, "clean_caption": False}


def _after_steps(pipeline: Any, on_step: OnStep, first: int) -> dict[str, Any]:
    """The argument of the pipeline's call that runs `on_step`: diffusers has two forms. Empty if it has none."""
    names = inspect.signature(pipeline.__call__).parameters

    def after(_: Any, step: int, timestep: Any, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        on_step(first, step, tensors["latents"])
        return {}

    if "callback_on_step_end" in names:
        return {"callback_on_step_end": after}
    if "callback" in names:
        return {"callback": lambda step, timestep, latents: on_step(first, step, latents)}
    return {}


def call(pipeline: Any, **options: Any) -> list[Image]:
    """Call the pipeline; returns its images. PixArt's binning has PixArt's sizes only."""
    if _is_pixart(pipeline):
        options |= pixart_options(pipeline) | {"use_resolution_binning": False}
    images: list[Image] = pipeline(**options).images
    return images


@torch.no_grad()
def preview(pipeline: Any, latents_BCHW: Tensor) -> list[Image]:
    """Images of latents that are not finished yet. Unlike `decode_latents`, it may be called between two steps."""
    vae, config = pipeline.vae, pipeline.vae.config
    latents_BCHW = latents_BCHW.to(vae.dtype) / config.scaling_factor
    if getattr(config, "latents_mean", None) and getattr(config, "latents_std", None):
        std, mean = (latents_BCHW.new_tensor(each) for each in (config.latents_std, config.latents_mean))
        latents_BCHW = latents_BCHW * std[:, None, None] + mean[:, None, None]
    decoded = vae.decode(latents_BCHW, return_dict=False)[0]
    images: list[Image] = pipeline.image_processor.postprocess(decoded, output_type="pil")
    return images


def decode_latents(pipeline: Any, latents_BCHW: Tensor) -> list[Image]:
    """Decode scaled latents with the pipeline itself. Its scheduler is replaced by one step that changes nothing."""
    identity: Any = DDPMScheduler()
    # PixArt reads the second value that a step returns.
    identity.step = lambda output, timestep, latents, **options: (latents, latents)
    before, pipeline.scheduler = pipeline.scheduler, identity
    try:
        return call(
            pipeline,
            prompt=[""] * len(latents_BCHW),
            guidance_scale=1.0,
            num_inference_steps=1,
            latents=latents_BCHW,
        )
    finally:
        pipeline.scheduler = before
