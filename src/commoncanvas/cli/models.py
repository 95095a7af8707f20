"""The commands that make, judge and use models: one thin function each."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, Parameter

from commoncanvas.cli.shared import EngineName, Json, Overrides, Uri, Workers, show
from commoncanvas.core.console import say
from commoncanvas.core.version import __version__

if TYPE_CHECKING:
    from commoncanvas.captioning.quality.clip import ClipModel

app = App(
    name="commoncanvas",
    help="Open text-to-image models from openly licensed images, with every creator known.",
    version=__version__,
    help_format="plaintext",
)

captions = App(name="caption", help="Write captions of images, and judge them.")
app.command(captions)


@captions.default
def caption(
    *,
    catalog: Uri,
    model: str,
    captioner: Literal["xs", "blip2", "vlm", "openai"] | None = None,
    column: str = "caption",
    where: str = "label IS NULL",
    retry: str = "",
    overwrite: bool = False,
    revision: str | None = None,
    prompt: str | None = None,
    max_tokens: int | None = None,
    beams: int | None = None,
    temperature: float = 0.0,
    top_p: float = 1.0,
    seed: int = 0,
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto",
    batch_size: int | None = None,
    base_url: str | None = None,
    concurrency: int = 16,
    engine: EngineName = "local",
    workers: Workers = None,
    json_: Json = False,
) -> None:
    """Let a captioner write the captions of fetched images; killed and run again, it does what is left.

    Args:
        model: the captioner's folder or hub id, or what the server calls it.
        captioner: xs, trained here; blip2; vlm, any vision-language model with a chat template; openai, a server.
            Default: openai with --base-url, else what the model's configuration says.
        where: SQL condition on the rows, or a saved filter's name; default: those without human text.
        retry: statuses to do again, comma-separated (`failed`: all that gave no caption).
        overwrite: drop the column's captions by another captioner, or with other settings, first.
        revision: the hub's branch, tag or commit.
        prompt: what the model is asked; vlm and openai have one of their own.
        max_tokens: most tokens of a caption.
        beams: beams of the search; blip2: 5, vlm: 1, greedy.
        temperature: above 0, captions are drawn by chance, which SEED decides for each image.
        precision: of the weights; auto: bf16 where the device multiplies it, else fp32.
        batch_size: images at once; halved when memory runs out.
        base_url: the server, such as http://localhost:8000/v1; its key is read from OPENAI_API_KEY.
        concurrency: requests to the server at once.
    """
    from commoncanvas.captioning import CaptionerConfig, kind_of
    from commoncanvas.captioning import caption as run

    config = CaptionerConfig(
        captioner or ("openai" if base_url else kind_of(model)),
        model,
        revision=revision,
        prompt=prompt,
        max_tokens=max_tokens,
        beams=beams,
        temperature=temperature,
        top_p=top_p,
        seed=seed,
        precision=precision,
        batch_size=batch_size,
        base_url=base_url,
        concurrency=concurrency,
    )
    report = run(
        catalog,
        config,
        column=column,
        where=where,
        retry=[status for status in retry.split(",") if status],
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
    where: str | None = None,
    html: str | None = None,
    clip: str | None = None,
    clip_pretrained: str | None = None,
    sample: int = 1000,
    seed: int = 0,
    json_: Json = False,
) -> None:
    """Say what the captions are like: words, repeats, boilerplate, and how well they fit images and human text.

    Args:
        where: SQL condition on the rows, or a saved filter's name.
        html: also write a page with the best and the worst twenty and their pictures, one file.
        clip: an open_clip model for the CLIP score: a folder, hf-hub:..., or a name with its --clip-pretrained.
        clip_pretrained: tag of the weights, such as laion2b_s34b_b79k for ViT-B-32.
        sample: captions that are compared, drawn by SEED.
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
    where: str | None = None,
    min_clip: float | None = None,
    clip: str | None = None,
    clip_pretrained: str | None = None,
    dry_run: bool = False,
    json_: Json = False,
) -> None:
    """Take bad captions out, by rules on their words and images; each row's status says which rule took it.

    Args:
        rules: comma-separated: empty, repeats, boilerplate, leftovers, min-words=N, max-words=N.
        where: SQL condition on the rows, or a saved filter's name.
        min_clip: also take captions whose cosine with their image is below this (0.2: CLIP score 20), by --clip.
        clip: an open_clip model: a folder, hf-hub:..., or a name with its --clip-pretrained.
        clip_pretrained: tag of the weights, such as laion2b_s34b_b79k for ViT-B-32.
        dry_run: only count; scores for --min-clip are not kept then.
    """
    from commoncanvas.captioning.quality.drop import drop_captions

    report = drop_captions(
        catalog,
        [rule for rule in rules.split(",") if rule],
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
    where: str | None = None,
    policy: Literal["commercial", "noncommercial"] = "noncommercial",
    model: str | None = None,
    json_: Json = False,
) -> None:
    """Write a commented RECIPE for the images of a catalog, with sizes, steps and samples that fit how many there are.

    Args:
        kind: xs, small, from random weights; s, SD2's U-Net from random weights; finetune, from a model that there is.
        recipe: the YAML file to write; xs writes that of its autoencoder beside it.
        where: SQL condition on the rows, or the name of a saved filter.
        policy: which licences are trained on.
        model: diffusers pipeline that finetune goes on from, a folder or hub id; default: a copy of SD2's base model.
    """
    from commoncanvas.planning.init_recipe import PIPELINE, init_recipe

    found = init_recipe(kind, recipe, catalog=catalog, where=where, policy=policy, model=model or PIPELINE)
    show(found, json_)


@app.command
def encode(
    recipe: str,
    *overrides: Overrides,
    catalog: Annotated[
        str | None, Parameter(help="instead of the recipe's data.catalog, or data.catalogs")
    ] = None,
    overwrite: bool = False,
    engine: EngineName = "local",
    workers: Workers = None,
    json_: Json = False,
) -> None:
    """Compute the frozen networks' columns that training RECIPE reads: latents and text states, or image features.

    Args:
        overwrite: drop a column that other weights made, and make it anew.
    """
    from commoncanvas.config import load_recipe
    from commoncanvas.encoding.command import encode as run

    words = [*overrides, *(["--data.catalog", catalog] if catalog else [])]
    show(run(load_recipe(recipe, words), overwrite=overwrite, engine=engine, workers=workers), json_)


@app.command
def train(
    recipe: str,
    *overrides: Overrides,
    resume: bool = False,
    without_taken_down: Annotated[bool, Parameter(negative="")] = False,
    json_: Json = False,
) -> None:
    """Train RECIPE: recipes/xs-captioner.yaml, xs-autoencoder.yaml, xs.yaml, or a file of your own.

    Args:
        resume: go on from the newest checkpoint of a run that was stopped or killed, or start.
        without_taken_down: let a run that is resumed go on without the images that were taken down since it began.
    """
    from commoncanvas.config import load_recipe
    from commoncanvas.training.trainer import train as run

    loaded = load_recipe(recipe, overrides)
    model = run(loaded, resume=resume, without_taken_down=without_taken_down)
    if os.environ.get("RANK", "0") == "0":  # of the processes that torchrun starts, one speaks
        show({"model": str(model)}, json_)
        if loaded.task == "diffusion" and not json_:
            say(shlex.join(["commoncanvas", "evaluate", str(model)]), title="next:")


@app.command
def plan(
    recipe: str,
    *more: Annotated[
        str, Parameter(allow_leading_hyphen=True, help="other recipes, and fields of all of them")
    ],
    device: str,
    gpus: int = 1,
    images: float | None = None,
    utilisation: float | None = None,
    dollars_an_hour: float | None = None,
    json_: Json = False,
) -> None:
    """Say what training RECIPE takes before it does: hours, storage and dollars. Several are phases of one training.

    Args:
        device: a100, h100 (SXM), h100-pcie, h100-nvl, h200, b200, v100, v100-pcie, l40s or rtx4090.
        images: rows that are encoded, held-out ones among them, such as 70e6; default: those of the catalog that the
            recipe chooses.
        utilisation: share of the device's peak; default: as a published table of A100s has it, see docs/guide/plan.md.
        dollars_an_hour: the price of one device.
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
def evaluate(
    model: str,
    *,
    catalog: Annotated[list[str] | None, Parameter(negative="")] = None,
    captioner: str | None = None,
    prompts: int = 64,
    seed: int = 0,
    guidance_scale: float | None = None,
    steps: int | None = None,
    out: str | None = None,
    html: str | None = None,
    json_: Json = False,
) -> None:
    """Judge MODEL on prompts seen in training and on prompts held out, each figure beside its baseline, and in words.

    Args:
        catalog: default: where the model's training had it; of several, NAME=URI for each that has moved.
        captioner: for the telephone round trip (caption the generated image, compare with the prompt).
        out: folder for figures and images; default: MODEL/evaluation.
        html: also write a page with the pictures, the figures and the credits, one file.
    """
    from commoncanvas.evaluation import evaluate as run

    result = run(
        model,
        catalog=catalog,
        captioner=captioner,
        prompts=prompts,
        seed=seed,
        guidance_scale=guidance_scale,
        steps=steps,
        out=out,
    )
    if html is not None:
        from commoncanvas.pages.evaluation_page import write_evaluation_page

        write_evaluation_page(result, html)
        say(f"page written to {html}")
    show(result, json_)


@app.command
def generate(
    model: str,
    prompt: str,
    *,
    seed: int = 0,
    count: int = 1,
    guidance_scale: float | None = None,
    steps: int | None = None,
    out: str = ".",
    json_: Json = False,
) -> None:
    """Draw images of PROMPT, one a seed, as PNG files.

    Args:
        count: number of images, from seeds SEED, SEED + 1, ...
    """
    from commoncanvas.release.generate import draw, save_image

    images = draw(model, prompt, seed=seed, count=count, guidance_scale=guidance_scale, steps=steps)
    show([str(save_image(image, out)) for image in images], json_)


@app.command
def demo(*, out: str = "demo", minutes: float = 10.0, json_: Json = False) -> None:
    """The whole way once: import, fetch, caption, encode, train, evaluate, and a report to show.

    Args:
        minutes: training is scaled to take about this long in all on two CPU cores.
    """
    from commoncanvas.demonstration.command import demo as run

    summary = run(out, minutes=minutes)
    if json_:
        show(summary, json_)
    say(str(Path(out) / "report.html"), title="the report:")
