"""The commands that make, evaluate and use models: one thin function each."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, Parameter

from commoncanvas.cli.shared import (
    EngineName,
    Json,
    Overrides,
    PolicyName,
    RecipeName,
    Uri,
    Where,
    Workers,
    importing,
    names,
    show,
)
from commoncanvas.core.console import say
from commoncanvas.core.version import __version__
from commoncanvas.options.caption import CaptionerConfig
from commoncanvas.options.credentials import DEFAULTS as CREDENTIAL_DEFAULTS
from commoncanvas.options.credentials import CredentialOptions
from commoncanvas.options.generate import DEFAULTS as DRAW_DEFAULTS
from commoncanvas.options.generate import DrawOptions

if TYPE_CHECKING:
    from commoncanvas.captioning.quality.clip import ClipModel

app = App(
    name="commoncanvas",
    help="Open text-to-image models from openly licensed images, with every creator known.",
    version=__version__,
    help_format="plaintext",
)

captions = App(name="caption", help="Write captions of images, and check their quality.")
app.command(captions)


@captions.default
def caption(
    *,
    catalog: Uri,
    config: Annotated[CaptionerConfig, Parameter(name="*", parse=re.compile("^(?!device$)"))],
    column: str = "caption",
    where: str = "label IS NULL",
    retry: str = "",
    overwrite: bool = False,
    engine: EngineName = "local",
    workers: Workers = None,
    json_: Json = False,
) -> None:
    """Caption fetched images with a model. If it was killed, run it again: it captions the remaining images.

    Args:
        column: column to write the captions to.
        where: SQL condition on the rows, or the name of a saved filter; default: rows without human text.
        retry: statuses to try again, comma-separated (`failed`: every row that got no caption).
        overwrite: first delete the column's captions, if another captioner or other settings made them.
    """
    with importing():
        from commoncanvas.captioning import caption as run

    report = run(
        catalog,
        config,
        column=column,
        where=where,
        retry=names(retry),
        overwrite=overwrite,
        engine=engine,
        workers=workers,
    )
    show(report, json_)


@captions.command
def report(
    *,
    catalog: Uri,
    column: str = "caption",
    where: Where = None,
    html: str | None = None,
    clip: str | None = None,
    clip_pretrained: str | None = None,
    sample: int = 1000,
    seed: int = 0,
    json_: Json = False,
) -> None:
    """Report the quality of captions: words, repeats, boilerplate, and how well they fit images and human text.

    Args:
        column: column with the captions.
        seed: random seed that selects the sampled rows.
        html: also write a page (one file) with the best twenty and the worst twenty captions and their images.
        clip: an open_clip model for the CLIP score: a folder, hf-hub:..., or a name together with --clip-pretrained.
        clip_pretrained: tag of the weights, such as laion2b_s34b_b79k for ViT-B-32.
        sample: number of captions to compare, chosen at random with SEED.
    """
    from commoncanvas.captioning.quality.report import caption_report

    scorer = _clip(clip, clip_pretrained)
    found = caption_report(catalog, column=column, where=where, clip=scorer, sample=sample, seed=seed)
    if html is not None:
        from commoncanvas.pages.captions_page import write_captions_page

        write_captions_page(found, html)
        say(f"page written to {html}")
    show(found, json_)


@captions.command
def drop(
    *,
    catalog: Uri,
    rules: str = "",
    column: str = "caption",
    where: Where = None,
    min_clip: float | None = None,
    clip: str | None = None,
    clip_pretrained: str | None = None,
    dry_run: bool = False,
    json_: Json = False,
) -> None:
    """Delete bad captions, by rules on their words and images. The status of each row names the rule.

    Args:
        column: column with the captions.
        rules: a comma list of empty, repeats, boilerplate, leftovers, refusal, not-a-caption, min-words=N, max-words=N.
        min_clip: also delete captions whose CLIP cosine with their image is lower (0.2: CLIP score 20); needs --clip.
        clip: an open_clip model: a folder, hf-hub:..., or a name together with --clip-pretrained.
        clip_pretrained: tag of the weights, such as laion2b_s34b_b79k for ViT-B-32.
        dry_run: only count; CLIP scores are not saved.
    """
    from commoncanvas.captioning.quality.drop import drop_captions

    report = drop_captions(
        catalog,
        names(rules),
        column=column,
        where=where,
        min_clip=min_clip,
        clip=_clip(clip, clip_pretrained),
        dry_run=dry_run,
    )
    show(report, json_)


def _clip(model: str | None, pretrained: str | None) -> ClipModel | None:
    if model is None:
        return None
    from commoncanvas.captioning.quality.clip import ClipModel

    return ClipModel(model, pretrained)


@app.command
def init(
    kind: Literal["xs", "s", "finetune"],
    recipe: str,
    *,
    catalog: Uri,
    where: Where = None,
    policy: PolicyName = "noncommercial",
    model: str | None = None,
    json_: Json = False,
) -> None:
    """Write a commented RECIPE for the images of a catalog. Sizes, steps and samples fit the number of images.

    Args:
        kind: xs (small, from random weights), s (SD2's U-Net from random weights), or finetune (an existing model).
        recipe: the YAML file to write; xs also writes the recipe of its autoencoder to the same folder.
        policy: which licences to train on.
        model: diffusers pipeline to finetune, a folder or hub id; default: a copy of SD2's base model.
    """
    from commoncanvas.planning.init_recipe import PIPELINE, init_recipe

    found = init_recipe(kind, recipe, catalog=catalog, where=where, policy=policy, model=model or PIPELINE)
    show(found, json_)


@app.command
def encode(
    recipe: RecipeName,
    *overrides: Overrides,
    catalog: Annotated[str | None, Parameter(help="instead of the recipe's catalogs")] = None,
    overwrite: bool = False,
    engine: EngineName = "local",
    workers: Workers = None,
    json_: Json = False,
) -> None:
    """Compute the columns that training RECIPE reads: latents and text states, or image features.

    Args:
        overwrite: delete a column that other weights made, and compute it again.
    """
    from commoncanvas.config import load_recipe

    with importing():
        from commoncanvas.encoding.command import encode as run

    words = [*overrides, *(["--data.catalog", catalog] if catalog else [])]
    show(run(load_recipe(recipe, words), overwrite=overwrite, engine=engine, workers=workers), json_)


@app.command
def train(
    recipe: RecipeName,
    *overrides: Overrides,
    resume: bool = False,
    without_taken_down: Annotated[bool, Parameter(negative="")] = False,
    json_: Json = False,
) -> None:
    """Train RECIPE: xs, s-c or another recipe of the package, or a YAML file of your own.

    Args:
        resume: continue from the newest checkpoint of a stopped or killed run; start a run if there is none.
        without_taken_down: continue a resumed run without the images that were taken down after it started.
    """
    from commoncanvas.config import load_recipe

    with importing():
        from commoncanvas.evaluation.validation import train as run

    loaded = load_recipe(recipe, overrides)
    model = run(loaded, resume=resume, without_taken_down=without_taken_down)
    if os.environ.get("RANK", "0") == "0":  # torchrun starts several processes; one prints
        show({"model": str(model)}, json_)
        if loaded.task == "diffusion" and not json_:
            say(shlex.join(["commoncanvas", "evaluate", str(model)]), title="next:")


@app.command
def plan(
    recipe: RecipeName,
    *more: Annotated[
        str, Parameter(allow_leading_hyphen=True, help="more recipes, and recipe fields that apply to all")
    ],
    device: str,
    gpus: int = 1,
    images: float | None = None,
    utilisation: float | None = None,
    dollars_an_hour: float | None = None,
    json_: Json = False,
) -> None:
    """Estimate the hours, storage and dollars of training RECIPE. Several recipes are phases of one training.

    Args:
        gpus: number of devices.
        device: a100, h100 (SXM), h100-pcie, h100-nvl, h200, b200, v100, v100-pcie, l40s or rtx4090.
        images: rows to encode, held-out rows included, such as 70e6; default: the rows that the recipe selects.
        utilisation: fraction of the device's peak; default: from a published table of A100s.
        dollars_an_hour: price of one device for one hour.
    """
    from commoncanvas.config import load_recipe, split_words
    from commoncanvas.planning.command import plan as run

    names, overrides = split_words([recipe, *more])
    found = run(
        [load_recipe(name, overrides) for name in names],
        device=device,
        gpus=gpus,
        images=images,
        utilisation=utilisation,
        dollars_an_hour=dollars_an_hour,
    )
    show(found, json_)


@app.command
def generate(
    model: str,
    *prompts: str,
    options: Annotated[DrawOptions, Parameter(name="*")] = DRAW_DEFAULTS,
    prompts_file: Annotated[str | None, Parameter(name="--prompts")] = None,
    out: str = ".",
    grid: str | None = None,
    credentials: Annotated[CredentialOptions, Parameter(name="*")] = CREDENTIAL_DEFAULTS,
    json_: Json = False,
) -> None:
    """Generate images of each PROMPT as PNG files. If it was stopped, run it again: it draws the remaining images.

    Args:
        model: folder that `train` wrote, or a hub id.
        prompts: what to draw.
        prompts_file: a text file with a prompt on each line; or a CSV or TSV file with the columns prompt,
            negative_prompt, seed, count, guidance_scale, steps, scheduler, height and width, of which only prompt is
            needed.
        out: folder for the PNG files.
        grid: PNG file for a sheet of all images.
    """
    with importing():
        from commoncanvas.drawing.generate import drawn
        from commoncanvas.drawing.requests import requests_of

    requests = requests_of(prompts, prompts_file, options)
    show([image.info["file"] for image in drawn(model, requests, out, grid, credentials)], json_)


@app.command
def demo(*, out: str = "demo", minutes: float = 10.0, json_: Json = False) -> None:
    """Run all steps once: import, fetch, caption, encode, train, evaluate, and write a report.

    Args:
        out: folder for everything that the demo makes.
        minutes: approximate total training time on two CPU cores.
    """
    from commoncanvas.demonstration.command import demo as run

    summary = run(out, minutes=minutes)
    if json_:
        show(summary, json_)
    say(str(Path(out) / "report.html"), title="the report:")
