"""`commoncanvas evaluate`."""

from __future__ import annotations

from typing import Annotated, Any

from cyclopts import Group, Parameter

from commoncanvas.cli.shared import FLAT, EngineName, Json, Workers, show
from commoncanvas.core.console import say
from commoncanvas.options import evaluate as options
from commoncanvas.options.scorers import DEFAULTS, ScorerOptions

EVERY = Group("Every way", sort_key=1)
OWN = Group("One model on its own prompts", sort_key=2)
OWN_OR_SWEEP = Group("Own prompts and sweeps", sort_key=3)
SWEEP = Group("Sweeps: several models or settings, other prompts", sort_key=4)
SUITE = Group("Suites: prompts of a benchmark", sort_key=5)
SCORED = Group("Sweeps and suites", sort_key=6)


def _options(group: Group) -> Parameter:
    """See FLAT."""
    return Parameter.combine(FLAT, Parameter(group=group))


def evaluate(
    model: str,
    *more: str,
    settings: Annotated[options.SettingOptions, _options(EVERY)] = options.SETTINGS,
    features: Annotated[options.FeatureOptions, _options(OWN_OR_SWEEP)] = options.FEATURES,
    grid: Annotated[options.GridOptions, _options(SWEEP)] = options.GRID,
    benchmark: Annotated[options.BenchmarkOptions, _options(SUITE)] = options.BENCHMARK,
    scorers: Annotated[ScorerOptions, _options(SCORED)] = DEFAULTS,
    captioner: Annotated[str | None, Parameter(group=OWN)] = None,
    catalog: Annotated[tuple[str, ...], Parameter(group=OWN_OR_SWEEP, negative="", show_default=False)] = (),
    engine: Annotated[EngineName, Parameter(group=SWEEP)] = "local",
    workers: Annotated[Workers, Parameter(group=SWEEP)] = None,
    out: Annotated[str | None, Parameter(group=EVERY)] = None,
    html: Annotated[str | None, Parameter(group=OWN_OR_SWEEP)] = None,
    json_: Annotated[Json, Parameter(group=EVERY)] = False,
) -> None:
    """Measure how good MODEL is, in one of three ways.

    One model on its own prompts, seen in training and held out: each figure beside its baseline, and a verdict in
    words. A sweep: several models or settings, or other prompts; every model draws the same prompts from the same
    seeds. A suite: the prompts of a benchmark, with scores. If a sweep or a suite was stopped, run it again: it draws
    the remaining images.

    Args:
        model: folder that `train` wrote; a sweep or a suite also takes other diffusers folders and hub ids.
        more: more models, for a sweep.
        captioner: captioner for the round trip: caption the generated image, compare the caption with the prompt.
        catalog: the catalog's URI; default: the URI at training. With several catalogs: NAME=URI for each moved one.
        out: folder for figures and images; default: MODEL/evaluation, sweep for a sweep, MODEL/evaluation/SUITE for a
            suite.
        html: also write a page (one file) with the images, the figures and the credits.
    """
    from commoncanvas.evaluation.ways import Asked, evaluate_as_asked

    asked = Asked(
        settings=settings,
        features=features,
        scorers=scorers,
        grid=grid,
        benchmark=benchmark,
        captioner=captioner,
        catalog=catalog,
        engine=engine,
        workers=workers,
        html=html,
        out=out,
    )
    result = evaluate_as_asked([model, *more], asked)
    if html is not None:
        _write_page(result, html)
        say(f"page written to {html}")
    show(result, json_)


def _write_page(result: Any, html: str) -> None:
    from commoncanvas.evaluation.sweeps.result import Sweep
    from commoncanvas.pages.evaluation_page import write_evaluation_page
    from commoncanvas.pages.sweep_page import write_sweep_page

    write = write_sweep_page if isinstance(result, Sweep) else write_evaluation_page
    write(result, html)
