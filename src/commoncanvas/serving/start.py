"""Make an engine for a loaded model."""

from __future__ import annotations

from dataclasses import replace

from commoncanvas.drawing.model import LoadedModel
from commoncanvas.drawing.requests import Request
from commoncanvas.options.generate import DrawOptions
from commoncanvas.options.serve import ServeOptions
from commoncanvas.serving.engine import Engine, Job
from commoncanvas.serving.metrics import Metrics

FEWEST_WAITING = 8
"""Images that may wait by default where a batch has fewer. If one batch waits, who is accepted has the image when the
running batch and the next are done.
"""
WARM_UP_STEPS = 4


def make_engine(model: LoadedModel, limits: ServeOptions, *, shared: bool) -> Engine:
    """An engine that has drawn one image in a few steps, so that it knows about how long a batch takes."""
    first = model.filled(Request("", DrawOptions()))
    steps = min(WARM_UP_STEPS, first.options.steps or 1)
    first = first._replace(options=replace(first.options, steps=steps))
    at_once = model.painter.batch_size(first.options.height or 0, first.options.width or 0)
    queue = limits.queue or max(at_once, FEWEST_WAITING)
    engine = Engine(model, queue, shared=shared, metrics=Metrics())
    engine.metrics.follow(lambda: engine.waiting)
    job = Job(first, "")
    engine.submit([job])
    job.done.result()
    return engine
