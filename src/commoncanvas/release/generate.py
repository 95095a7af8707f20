"""Draw images from prompts, and write their settings into the files."""

from __future__ import annotations

import re
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from commoncanvas.core.console import progress, say
from commoncanvas.core.errors import RecipeError
from commoncanvas.diffusion.sampling import generate_images, load_pipeline
from commoncanvas.models.devices import pick_device
from commoncanvas.provenance.record import read_provenance

if TYPE_CHECKING:
    from PIL.Image import Image

GUIDANCE_SCALE = 5.0
STEPS = 50


def generate(
    model: str | Path,
    prompt: str,
    *,
    seed: int = 0,
    count: int = 1,
    guidance_scale: float | None = None,
    steps: int | None = None,
    out: str | Path | None = None,
) -> list[Image]:
    """Generate `count` images of `prompt`, from seeds `seed`, `seed` + 1, ...

    Guidance and steps default to the recipe's. Image and settings are those of the plain diffusers pipeline with
    `generator=torch.Generator("cpu").manual_seed(seed)`. Prompt, seed, settings and model are in each image's `info`.
    With `out` each image is also written into that folder as a PNG file with the same texts, as soon as it is made;
    `info["file"]` is its path. A different image of the same name is kept: the new one gets a number after its name.
    Raises ModelError, and RecipeError for settings that can't be sampled with.
    """
    if count < 1:
        raise RecipeError(f"count {count}: give at least 1")
    pipeline = load_pipeline(str(model)).to(pick_device())
    _warn_if_long(pipeline, prompt)
    sample = read_provenance(model)["recipe"]["sample"] if (Path(model) / "provenance.json").exists() else {}
    guidance_scale = (
        guidance_scale if guidance_scale is not None else sample.get("guidance_scale", GUIDANCE_SCALE)
    )
    steps = steps if steps is not None else sample.get("steps", STEPS)
    images: list[Image] = []
    with progress("generate", count) as bar:
        for number in range(seed, seed + count):
            (image,) = generate_images(
                pipeline, [prompt], seeds=[number], guidance_scale=guidance_scale, steps=steps
            )
            image.info |= {
                "prompt": prompt,
                "seed": number,
                "guidance_scale": guidance_scale,
                "steps": steps,
                "model": Path(model).name,
                "software": "commoncanvas",
            }
            if out is not None:
                image.info["file"] = str(_save(image, Path(out)))
            images.append(image)
            bar.advance()
    return images


def _save(image: Image, folder: Path) -> Path:
    """Write an image into `folder` as a PNG file with its `info`."""
    from PIL.PngImagePlugin import PngInfo

    text = PngInfo()
    for key, value in image.info.items():
        text.add_itxt(str(key), str(value))
    png = BytesIO()
    image.save(png, "PNG", pnginfo=text)
    folder.mkdir(parents=True, exist_ok=True)
    return _kept(folder, f"{_file_name(image.info['prompt'])}-{image.info['seed']}", png.getvalue())


def _warn_if_long(pipeline: Any, prompt: str) -> None:
    """Print the part of the prompt that the tokenizer cuts off."""
    tokenizer = pipeline.tokenizer
    tokens = tokenizer(prompt, verbose=False).input_ids
    most = tokenizer.model_max_length
    if len(tokens) > most:
        # The last token that is kept is the end token.
        unread = tokenizer.decode(tokens[most - 1 :], skip_special_tokens=True).strip()
        say(f"the prompt has {len(tokens)} tokens, and the model reads {most}; it does not read: {unread}")


def _kept(folder: Path, name: str, png: bytes) -> Path:
    """Write the bytes to NAME.png, or to NAME-2.png and so on if that file has other bytes; returns the file."""
    path, number = folder / f"{name}.png", 1
    while path.exists() and path.read_bytes() != png:
        number += 1
        path = folder / f"{name}-{number}.png"
    path.write_bytes(png)
    return path


def _file_name(prompt: str) -> str:
    """The prompt as a file name: letters and digits, at most 60 of them."""
    return re.sub(r"[^\w]+", "-", prompt.lower()).strip("-")[:60] or "image"
