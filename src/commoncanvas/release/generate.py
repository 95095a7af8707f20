"""Images from prompts, with what they were made by written into the files."""

from __future__ import annotations

import re
from io import BytesIO
from pathlib import Path
from typing import Any

from commoncanvas.core.console import progress, say
from commoncanvas.core.errors import RecipeError
from commoncanvas.diffusion.sampling import generate_images, load_pipeline
from commoncanvas.models.devices import pick_device
from commoncanvas.provenance.record import read_provenance

GUIDANCE_SCALE = 5.0
STEPS = 50


def generate(
    model: str,
    prompt: str,
    *,
    seed: int = 0,
    count: int = 1,
    guidance_scale: float | None = None,
    steps: int | None = None,
    out: str = ".",
) -> list[Path]:
    """Draw `count` images of `prompt`, from seeds `seed`, `seed` + 1, ..., into `out`; returns the PNG files.

    Guidance and steps default to the recipe's. Image and settings are those of the plain diffusers pipeline with
    `generator=torch.Generator("cpu").manual_seed(seed)`. Prompt, seed, settings and model stand in the PNG. Another
    image of the same name stays: this one gets a number behind its name.
    Raises ModelError, and RecipeError for settings that can't be sampled with.
    """
    from PIL.PngImagePlugin import PngInfo

    if count < 1:
        raise RecipeError(f"count {count}: give at least 1")
    pipeline = load_pipeline(model).to(pick_device())
    _warn_if_long(pipeline, prompt)
    sample = read_provenance(model)["recipe"]["sample"] if (Path(model) / "provenance.json").exists() else {}
    guidance_scale = (
        guidance_scale if guidance_scale is not None else sample.get("guidance_scale", GUIDANCE_SCALE)
    )
    steps = steps if steps is not None else sample.get("steps", STEPS)
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    files: list[Path] = []
    with progress("generate", count) as bar:
        for number in range(seed, seed + count):
            (image,) = generate_images(
                pipeline, [prompt], seeds=[number], guidance_scale=guidance_scale, steps=steps
            )
            text = PngInfo()
            for key, value in {
                "prompt": prompt,
                "seed": number,
                "guidance_scale": guidance_scale,
                "steps": steps,
                "model": Path(model).name,
                "software": "commoncanvas",
            }.items():
                text.add_itxt(key, str(value))
            png = BytesIO()
            image.save(png, "PNG", pnginfo=text)
            files.append(_kept(folder, f"{_file_name(prompt)}-{number}", png.getvalue()))
            bar.advance()
    return files


def _warn_if_long(pipeline: Any, prompt: str) -> None:
    """Say what of a prompt the pipeline's tokenizer cuts off."""
    tokenizer = pipeline.tokenizer
    tokens = tokenizer(prompt, verbose=False).input_ids
    most = tokenizer.model_max_length
    if len(tokens) > most:
        # The last token that is kept is the one that ends a text.
        unread = tokenizer.decode(tokens[most - 1 :], skip_special_tokens=True).strip()
        say(f"the prompt has {len(tokens)} tokens, and the model reads {most}; it does not read: {unread}")


def _kept(folder: Path, name: str, png: bytes) -> Path:
    """The file of that name, or with a number behind it, that has or can have these bytes."""
    path, number = folder / f"{name}.png", 1
    while path.exists() and path.read_bytes() != png:
        number += 1
        path = folder / f"{name}-{number}.png"
    path.write_bytes(png)
    return path


def _file_name(prompt: str) -> str:
    """The prompt as a file name: letters and digits, at most 60 of them."""
    return re.sub(r"[^\w]+", "-", prompt.lower()).strip("-")[:60] or "image"
