"""`commoncanvas evaluate`."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from commoncanvas.cli.shared import Json, show
from commoncanvas.cli.suite import evaluate_suite
from commoncanvas.core.console import say
from commoncanvas.core.errors import RecipeError
from commoncanvas.options.suite import DEFAULTS as SUITE_DEFAULTS
from commoncanvas.options.suite import SuiteOptions


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
    suite: Annotated[SuiteOptions, Parameter(name="*", negative="")] = SUITE_DEFAULTS,
    json_: Json = False,
) -> None:
    """Evaluate MODEL on prompts seen in training and on held-out prompts. Shows each metric next to its baseline, and
    a verdict in words. With --suite: on a benchmark's prompts, with scores by --scorer.

    Args:
        model: folder that `train` wrote.
        prompts: most prompts of each kind.
        seed: random seed that selects prompts and images.
        guidance_scale: classifier-free guidance; 1: none; default: the model's own.
        steps: sampling steps; default: the model's own.
        catalog: the catalog's URI; default: the URI at training. With several catalogs: NAME=URI for each moved one.
        captioner: captioner for the round trip: caption the generated image, compare the caption with the prompt.
        out: folder for metrics and images; default: MODEL/evaluation, and its folder SUITE for a suite.
        html: also write a page (one file) with the images, the metrics and the credits.
    """
    if suite.suite is not None:
        if catalog or captioner or html:
            raise RecipeError("--catalog, --captioner and --html are not for a suite; leave them out")
        evaluate_suite(model, suite, seed, guidance_scale, steps, out, json_)
        return
    if suite != SUITE_DEFAULTS:
        raise RecipeError("--prompts-file, --scorer, --images, --limit and --colour-clip need --suite")
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
