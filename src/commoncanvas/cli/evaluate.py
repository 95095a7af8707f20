"""`commoncanvas evaluate`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated

from cyclopts import Parameter

from commoncanvas.cli.shared import EngineName, Json, Workers, show
from commoncanvas.core.console import say
from commoncanvas.core.errors import EvaluationError
from commoncanvas.options.generate import DrawOptions
from commoncanvas.options.suite import DEFAULTS as SUITE_DEFAULTS
from commoncanvas.options.suite import SuiteOptions
from commoncanvas.options.sweep import DEFAULTS, SweepOptions

SAMPLES = 64
"""Prompts of each kind for one model's own evaluation."""


def _many(*names: str) -> Parameter:
    return Parameter(name=names, consume_multiple=True, negative="")


def evaluate(
    model: str,
    *more: str,
    prompts: str | None = None,
    reference: str | None = None,
    guidance_scales: Annotated[list[float] | None, _many("--guidance-scales", "--guidance-scale")] = None,
    steps: Annotated[list[int] | None, _many("--steps")] = None,
    samplers: Annotated[list[str] | None, _many("--samplers")] = None,
    samples: int | None = None,
    seed: int = 0,
    features: Annotated[list[str] | None, _many("--features")] = None,
    scorers: Annotated[list[str] | None, _many("--scorers", "--scorer")] = None,
    axes: Annotated[list[str] | None, _many("--axes")] = None,
    captioner: str | None = None,
    catalog: Annotated[list[str] | None, Parameter(negative="")] = None,
    engine: EngineName = "local",
    workers: Workers = None,
    out: str | None = None,
    html: str | None = None,
    suite: Annotated[
        SuiteOptions, Parameter(name="*", negative="", parse=re.compile("^(?!(scorer|samples)$)"))
    ] = SUITE_DEFAULTS,
    json_: Json = False,
) -> None:
    """Evaluate MODEL on prompts seen in training and on held-out prompts. Shows each metric next to its baseline, and
    a verdict in words.

    With --suite, it draws a benchmark's prompts, and --scorers score the images.
    With several models or settings, or with --prompts or --reference, it draws a sweep: each model draws the same
    prompts from the same seeds with each setting. If it was stopped, run it again: it draws the remaining images.

    Args:
        model: folder that `train` wrote; a sweep also takes other diffusers folders and hub ids.
        more: more models, for a sweep.
        prompts: of a sweep: coco:FILE, parti:FILE, a text, CSV or TSV file, or heldout (the default).
        reference: of a sweep: a folder of real images, an .npz file (mu, sigma), catalog:URI, or heldout: the prompts'
            own images (the default).
        guidance_scales: classifier-free guidance; 1: none; default: the model's own.
        steps: sampling steps; default: the model's own.
        samplers: of a sweep: diffusers classes such as DDIMScheduler; default: the model's own.
        samples: most prompts of each kind, default 64; of a sweep: images of each setting, default one a prompt; of a
            suite: most prompts, taken evenly from the whole file.
        seed: random seed that selects prompts and images.
        features: network for distances and retrieval, NAME or NAME:WEIGHTS, of a sweep also several; `commoncanvas
            compare` has their names; default: efficientnet-lite0.
        scorers: of a sweep: clip:MODEL (a folder of open_clip, or hf-hub:...) or captioner:MODEL; of a suite:
            KIND:MODEL, with kinds vqa, soft-tifa, detector, pickscore, hpsv2, clip.
        axes: curves of a sweep's page, each as X,Y, such as clip,fd; default: scorers against distances.
        captioner: captioner for the round trip: caption the generated image, compare the caption with the prompt.
        catalog: the catalog's URI; default: the URI at training. With several catalogs: NAME=URI for each moved one.
        out: folder for metrics and images; default: MODEL/evaluation, its folder SUITE for a suite, sweep for a sweep.
        html: also write a page (one file) with the images, the metrics and the credits.
    """
    scales, counts = guidance_scales or [], steps or []
    networks = tuple(features or ()) or DEFAULTS.features
    several = len(scales) > 1 or len(counts) > 1 or len(networks) > 1
    if suite.suite is not None:
        if more or several or prompts or reference or samplers or axes or captioner or catalog or html:
            raise EvaluationError(
                "a suite takes one model and setting, and none of --prompts, --reference, --samplers, --axes, "
                "--captioner, --catalog, --html; leave them out"
            )
        from commoncanvas.evaluation.suites.command import evaluate_suite

        draw = DrawOptions(seed=seed, guidance_scale=next(iter(scales), None), steps=next(iter(counts), None))
        scored = replace(suite, scorer=tuple(scorers) if scorers else None, samples=samples)
        show(evaluate_suite(model, scored, draw, out=out), json_)
        return
    if suite != SUITE_DEFAULTS:
        raise EvaluationError("--prompts-file, --images and --colour-clip need --suite")
    if more or several or prompts or reference or samplers or scorers or axes:
        if captioner is not None:
            raise EvaluationError(f"captioner: in a sweep, give --scorers captioner:{captioner}")
        options = SweepOptions(
            prompts=prompts or DEFAULTS.prompts,
            reference=reference or DEFAULTS.reference,
            guidance_scales=tuple(scales),
            steps=tuple(counts),
            samplers=tuple(samplers or ()),
            samples=samples,
            seed=seed,
            features=networks,
            scorers=tuple(scorers or ()),
            axes=tuple(axes or ()),
        )
        _sweep([model, *more], options, catalog, engine, workers, out or "sweep", html, json_)
        return
    if engine != "local" or workers is not None:
        raise EvaluationError(
            "engine and workers are for a sweep; give --prompts, or several settings or models"
        )
    from commoncanvas.evaluation import evaluate as run

    result = run(
        model,
        catalog=catalog,
        captioner=captioner,
        features=networks[0],
        samples=SAMPLES if samples is None else samples,
        seed=seed,
        guidance_scale=next(iter(scales), None),
        steps=next(iter(counts), None),
        out=out,
    )
    if html is not None:
        from commoncanvas.pages.evaluation_page import write_evaluation_page

        write_evaluation_page(result, html)
        say(f"page written to {html}")
    show(result, json_)


def _sweep(
    models: Sequence[str],
    options: SweepOptions,
    catalog: Sequence[str] | None,
    engine: EngineName,
    workers: int | None,
    out: str,
    html: str | None,
    json_: bool,
) -> None:
    from commoncanvas.evaluation.sweeps.command import sweep

    result = sweep(models, options, out=out, catalog=catalog, engine=engine, workers=workers)
    if html is not None:
        from commoncanvas.pages.sweep_page import write_sweep_page

        write_sweep_page(result, html)
        say(f"page written to {html}")
    show(result, json_)
