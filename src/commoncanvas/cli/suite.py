"""`commoncanvas evaluate --suite`."""

from __future__ import annotations

from commoncanvas.cli.shared import show
from commoncanvas.options.generate import DrawOptions
from commoncanvas.options.suite import SuiteOptions


def evaluate_suite(
    model: str,
    suite: SuiteOptions,
    seed: int,
    guidance_scale: float | None,
    steps: int | None,
    out: str | None,
    json_: bool,
) -> None:
    """Draw a benchmark's prompts, score the images, show the figures."""
    from commoncanvas.evaluation.suites.command import evaluate_suite as run

    draw = DrawOptions(seed=seed, guidance_scale=guidance_scale, steps=steps)
    show(run(model, suite, draw, out=out), json_)
