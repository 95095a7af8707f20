"""The commands that make, judge and use models: one thin function each."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from commoncanvas import __version__
from commoncanvas.cli.shared import EngineName, Json, Uri, Workers, show
from commoncanvas.console import say

app = App(
    name="commoncanvas",
    help="Open text-to-image models from openly licensed images, with every creator known.",
    version=__version__,
    help_format="plaintext",
)

# Words such as `--train.steps 100`, which the recipe's schema checks.
Overrides = Annotated[str, Parameter(allow_leading_hyphen=True, help="recipe fields: --train.steps 100")]


@app.command
def caption(
    *,
    catalog: Uri,
    captioner: str,
    column: str = "caption",
    where: str = "label IS NULL",
    overwrite: bool = False,
    engine: EngineName = "local",
    workers: Workers = None,
    json_: Json = False,
) -> None:
    """Let a captioner write the captions of fetched images.

    Args:
        captioner: a captioner's model folder.
        where: SQL condition on the rows, or a saved filter's name; default: those without human text.
        overwrite: drop the column's captions by another captioner first.
    """
    from commoncanvas.telephoning import caption as run

    report = run(
        catalog, captioner, column=column, where=where, overwrite=overwrite, engine=engine, workers=workers
    )
    show(report, json_)


@app.command
def encode(
    recipe: str,
    *overrides: Overrides,
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
    from commoncanvas.latents.encode import encode as run

    show(run(load_recipe(recipe, overrides), overwrite=overwrite, engine=engine, workers=workers), json_)


@app.command
def train(recipe: str, *overrides: Overrides, resume: bool = False, json_: Json = False) -> None:
    """Train RECIPE: recipes/xs-captioner.yaml, xs-autoencoder.yaml, xs.yaml, or a file of your own.

    Args:
        resume: go on from the newest checkpoint of a run that was stopped or killed, or start.
    """
    from commoncanvas.config import load_recipe
    from commoncanvas.training.trainer import train as run

    show({"model": str(run(load_recipe(recipe, overrides), resume=resume))}, json_)


@app.command
def evaluate(
    model: str,
    *,
    catalog: str | None = None,
    captioner: str | None = None,
    prompts: int = 64,
    seed: int = 0,
    guidance_scale: float | None = None,
    steps: int | None = None,
    out: str | None = None,
    json_: Json = False,
) -> None:
    """Judge MODEL on prompts seen in training and on prompts held out, each figure beside its baseline.

    Args:
        catalog: default: the one that the model was trained from.
        captioner: for the telephone round trip (caption the generated image, compare with the prompt).
        out: folder for figures and images; default: MODEL/evaluation.
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
    show(result if json_ else result.figures(), json_)


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
    from commoncanvas.release.generate import generate as run

    files = run(model, prompt, seed=seed, count=count, guidance_scale=guidance_scale, steps=steps, out=out)
    show([str(path) for path in files], json_)


@app.command
def demo(*, out: str = "demo", minutes: float = 10.0, json_: Json = False) -> None:
    """The whole way once: import, fetch, caption, encode, train, evaluate, and a report to show.

    Args:
        minutes: training is scaled to take about this long in all on two CPU cores.
    """
    from commoncanvas.demonstration import demo as run

    summary = run(out, minutes=minutes)
    if json_:
        show(summary, json_)
    say(f"[bold]the report:[/bold] {Path(out) / 'report.html'}")
