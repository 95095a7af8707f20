"""What a client asks for, in the form of OpenAI's images API, checked against the server's limits.

https://platform.openai.com/docs/api-reference/images/create. Ours are `seed`, `steps`, `guidance`, `negative_prompt`,
`sources`.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import replace
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from commoncanvas.core.errors import RecipeError
from commoncanvas.core.text import counted, encodes
from commoncanvas.diffusion.sampling import check_settings, denoiser_of, image_size
from commoncanvas.drawing.model import LoadedModel
from commoncanvas.drawing.requests import Request
from commoncanvas.options.generate import DrawOptions
from commoncanvas.options.serve import ServeOptions
from commoncanvas.serving.errors import ApiError

SIZE = re.compile(r"(\d{1,5})x(\d{1,5})", re.ASCII)
SEEDS = 2**32
"""A seed that the client doesn't give is below it: programs in every language can read it from JSON."""
MOST_GUIDANCE = 100
MOST_SOURCES = 20


class ImagesRequest(BaseModel):
    """The body of `POST /v1/images/generations`. Other fields are refused: a misspelled one would change nothing."""

    model_config = ConfigDict(extra="forbid", strict=True)

    prompt: Annotated[str, Field(min_length=1)]
    model: str | None = None
    n: Annotated[int | None, Field(ge=1)] = None
    size: Annotated[str | None, Field(description="WIDTHxHEIGHT in pixels, or auto")] = None
    response_format: Literal["b64_json", "url"] | None = None
    stream: bool | None = None
    partial_images: Annotated[int | None, Field(ge=0, le=3)] = None

    seed: Annotated[
        int | None, Field(ge=0, lt=2**63, description="of the first image; then + 1, + 2, ...")
    ] = None
    steps: Annotated[int | None, Field(ge=1)] = None
    guidance: Annotated[float | None, Field(ge=1, le=MOST_GUIDANCE, allow_inf_nan=False)] = None
    negative_prompt: str | None = None
    sources: Annotated[
        int | None,
        Field(ge=1, le=MOST_SOURCES, description="the nearest training images of each image, so many"),
    ] = None

    # Clients send these too. What would change the image must have the only value that we can give.
    background: Literal["auto", "opaque"] | None = None
    output_format: Literal["png"] | None = None
    moderation: Literal["auto", "low"] | None = None
    quality: Literal["auto", "standard"] | None = None
    user: str | None = None
    safety_identifier: str | None = None


def images_asked(asked: ImagesRequest, model: LoadedModel, limits: ServeOptions) -> list[Request]:
    """A request for each image, with all settings. Raises ApiError that names the field."""
    for name in ("prompt", "negative_prompt"):
        text = getattr(asked, name) or ""
        if len(text) > limits.max_prompt:
            most = counted(limits.max_prompt, "characters")
            raise ApiError(400, f"{name}: {len(text):,} characters; give at most {most}", param=name)
        if not encodes(text):
            raise ApiError(400, f"{name}: half of a surrogate pair is not a character", param=name)
    count = asked.n or 1
    _at_most("n", count, limits.max_n)
    _at_most("steps", asked.steps or 1, limits.max_steps)
    if asked.stream and count > 1:
        raise ApiError(
            400, "n: a stream has one image, because its events don't say which one they are of", param="n"
        )
    if asked.stream and asked.response_format == "url":
        raise ApiError(400, "response_format: a stream has b64_json alone", param="response_format")
    if asked.partial_images and not asked.stream:
        raise ApiError(400, "partial_images: these need stream", param="partial_images")
    width, height = _size(asked.size, model, limits)
    seed = secrets.randbelow(SEEDS) if asked.seed is None else asked.seed
    if seed + count > 2**63:
        raise ApiError(400, f"seed: {seed} + {count - 1} is not below 2^63", param="seed")
    options = DrawOptions(seed=seed, width=width, height=height, precision=limits.precision)
    return [_filled(asked, replace(options, seed=seed + number), model) for number in range(count)]


def _at_most(name: str, value: int, most: int) -> None:
    if value > most:
        raise ApiError(400, f"{name}: {value} is more than this server's limit, {most}", param=name)


def _filled(asked: ImagesRequest, options: DrawOptions, model: LoadedModel) -> Request:
    options = replace(
        options,
        negative_prompt=asked.negative_prompt or "",
        guidance_scale=asked.guidance,
        steps=asked.steps,
    )
    try:
        filled = model.filled(Request(asked.prompt, options))
        assert filled.options.guidance_scale is not None and filled.options.steps is not None
        check_settings(model.pipeline.scheduler, filled.options.guidance_scale, filled.options.steps)
    except RecipeError as error:
        raise ApiError(400, str(error)) from error
    return filled


def _size(text: str | None, model: LoadedModel, limits: ServeOptions) -> tuple[int, int]:
    """Width and height in pixels. Raises ApiError."""
    own = image_size(model.pipeline)
    if text in (None, "auto"):
        return own, own
    found = SIZE.fullmatch(text or "")
    if found is None:
        raise ApiError(400, f"size: give WIDTHxHEIGHT, such as {own}x{own}, or auto", param="size")
    width, height = map(int, found.groups())
    step = size_step(model)
    if width % step or height % step or not (width and height):
        raise ApiError(
            400, f"size: both sides must be multiples of {step}, such as {own}x{own}", param="size"
        )
    most = limits.max_pixels or own * own
    if width * height > most:
        raise ApiError(
            400, f"size: {width * height:,} pixels; this server draws at most {most:,}", param="size"
        )
    return width, height


def unread_notes(model: LoadedModel, asked: ImagesRequest) -> list[str]:
    """What the text encoder does not read of the prompts."""
    texts = dict.fromkeys((asked.prompt, asked.negative_prompt or ""))
    return [note for text in texts if (note := model.unread(text))]


def size_step(model: LoadedModel) -> int:
    """Sides of images must be multiples of it: whole latents, whole cells of the network's coarsest level or patches,
    and of 8, which diffusers asks for.
    """
    config = denoiser_of(model.pipeline).config
    levels = len(getattr(config, "block_out_channels", None) or [0])
    cells: int = getattr(config, "patch_size", None) or 2 ** (levels - 1)
    return max(8, int(model.pipeline.vae_scale_factor) * cells)
