"""Draw images from prompts, and write their settings into the files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from io import BytesIO
from itertools import groupby, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from commoncanvas.core.console import progress, say
from commoncanvas.core.errors import RecipeError
from commoncanvas.core.files import replace_bytes
from commoncanvas.diffusion.batches import Painter, check_precision
from commoncanvas.diffusion.sampling import (
    with_sampler,
)
from commoncanvas.drawing import png
from commoncanvas.drawing.credentials import Signing
from commoncanvas.drawing.model import info_of, load_model
from commoncanvas.drawing.requests import Request, requests_of
from commoncanvas.images.grid import CELL, labelled_grid
from commoncanvas.models.devices import multiplies_bf16
from commoncanvas.options.credentials import DEFAULTS as CREDENTIAL_DEFAULTS
from commoncanvas.options.credentials import OFF, CredentialOptions
from commoncanvas.options.generate import DEFAULTS, DrawOptions

if TYPE_CHECKING:
    from PIL.Image import Image

AT_ONCE = 256
"""Images that are looked for in the folder before some are drawn."""
MOST_IN_GRID = 400
"""Images that a sheet may show; more are too small to see."""


def generate(
    model: str | Path,
    prompts: str | Sequence[str] = (),
    options: DrawOptions = DEFAULTS,
    *,
    prompts_file: str | Path | None = None,
    out: str | Path | None = None,
    grid: str | Path | None = None,
    credentials: CredentialOptions = CREDENTIAL_DEFAULTS,
) -> list[Image]:
    """Generate images of each prompt, as `options` say. `model`: a folder or hub id; `xs`: the packaged model.

    `prompts_file` adds prompts: a text file with one on each line, or a CSV or TSV file whose columns may set the
    options of each row. An image depends only on its own prompt and options, not on the others. It is the one that the
    plain diffusers pipeline draws with `generator=torch.Generator("cpu").manual_seed(seed)`, but for rounding; its
    settings and its model are in its `info`.

    With `out` each image is also written into that folder as a PNG file with the same texts, as soon as it is made;
    `info["file"]` is its path. An image that is there with the same settings is not drawn again, so a call that was
    stopped goes on. Another image of the same name is kept: the new one gets a number after its name. `grid`: a PNG
    file for a sheet of all images with their prompts. `credentials`: whether these files are signed, and by whom.
    Raises ModelError; RecipeError for prompts or settings, and CredentialError for a certificate, that can't be used;
    MissingExtraError.
    """
    texts = [prompts] if isinstance(prompts, str) else prompts
    return list(drawn(model, requests_of(texts, prompts_file, options), out, grid, credentials))


def drawn(
    model: str | Path,
    requests: Sequence[Request],
    out: str | Path | None,
    grid: str | Path | None,
    credentials: CredentialOptions = CREDENTIAL_DEFAULTS,
) -> Iterator[Image]:
    """The image of each request, in order; the sheet is written after the last. See `generate`."""
    if grid is not None and len(requests) > MOST_IN_GRID:
        raise RecipeError(
            f"grid: {len(requests):,} images are too many for one sheet; draw at most {MOST_IN_GRID}"
        )
    signing = Signing(OFF if out is None and grid is None else credentials)
    loaded = load_model(model)
    pipeline, about = loaded.pipeline, loaded.about
    signing.begin(about, loaded.record)
    requests = [loaded.filled(each) for each in requests]
    for text in dict.fromkeys(
        text for each in requests for text in (each.prompt, each.options.negative_prompt)
    ):
        if note := loaded.unread(text):
            say(note)
    for precision in dict.fromkeys(each.options.precision for each in requests):
        check_precision(precision, pipeline.device)
        if precision == "bf16" and not multiplies_bf16(pipeline.device):
            say("this device has no bf16 products of its own, so precision bf16 is slower than fp32")
    own = pipeline.scheduler
    painter = loaded.painter
    cells: list[Image] = []
    with progress("generate", len(requests)) as bar:
        for alike in _alike(requests):
            pipeline.scheduler = sampler_of(own, alike[0].options)
            for image in _made(painter, alike, about, Path(out) if out is not None else None, signing):
                if grid is not None:
                    cells.append(image.resize((CELL, CELL)))
                yield image
                bar.advance()
    if grid is not None:
        Path(grid).parent.mkdir(parents=True, exist_ok=True)
        sheet = BytesIO()
        labelled_grid(cells, [each.prompt for each in requests]).save(sheet, "PNG")
        replace_bytes(Path(grid), signing.added(sheet.getvalue()))


def _alike(requests: Sequence[Request]) -> Iterator[list[Request]]:
    """Neighbouring requests that differ only in their texts and seeds, up to AT_ONCE at a time."""
    for _, group in groupby(
        requests, lambda each: replace(each.options, seed=0, count=1, negative_prompt="")
    ):
        while some := list(islice(group, AT_ONCE)):
            yield some


def _made(
    painter: Painter,
    requests: Sequence[Request],
    about: Mapping[str, str],
    out: Path | None,
    signing: Signing,
) -> Iterator[Image]:
    """The image of each request, with its `info`: from the folder `out` if it is there, else drawn and saved."""
    infos = [info_of(each, about) for each in requests]
    there = [png.made_before(info, out) if out is not None else None for info in infos]
    todo = [each for each, image in zip(requests, there, strict=True) if image is None]
    options = requests[0].options
    assert options.guidance_scale is not None and options.steps is not None
    new = painter.images(
        [each.prompt for each in todo],
        negative_prompts=[each.options.negative_prompt for each in todo],
        seeds=[each.options.seed for each in todo],
        guidance_scale=options.guidance_scale,
        steps=options.steps,
        height=options.height,
        width=options.width,
        precision=options.precision,
    )
    for info, found in zip(infos, there, strict=True):
        image = found or next(new)
        if found is None:
            image.info.update(info)
            if out is not None:
                image.info["file"] = str(png.save(image, out, signing.added))
        else:
            signing.kept(image.info["file"])
        yield image


def sampler_of(own: Any, options: DrawOptions) -> Any:
    """The pipeline's `own` sampler, or the one that the options name. Raises RecipeError."""
    assert options.scheduler and options.guidance_scale is not None and options.steps is not None
    if options.scheduler == type(own).__name__:
        return own
    return with_sampler(own, options.scheduler, steps=options.steps, guidance_scale=options.guidance_scale)
