"""Make an engine, and what draws for it."""

from __future__ import annotations

import socket
from dataclasses import replace
from pathlib import Path

from commoncanvas.drawing.model import load_model
from commoncanvas.drawing.requests import Request
from commoncanvas.options.generate import DrawOptions
from commoncanvas.options.serve import ReplicaOptions, ServeOptions
from commoncanvas.serving.drawers import Drawer, LocalDrawer
from commoncanvas.serving.engine import Engine, Job
from commoncanvas.serving.metrics import Metrics
from commoncanvas.serving.replicas import RayDrawer

FEWEST_WAITING = 8
"""Images that may wait by default where a batch has fewer. If one batch waits for each replica, who is accepted has the
image when the running batch and the next are done.
"""
WARM_UP_STEPS = 4


def drawer_of(model: str | Path, options: ReplicaOptions, port: int) -> Drawer:
    """What draws a model's images; close it at the end. `port`: the one at which this server listens.

    Raises ModelError, EngineError and MissingExtraError.
    """
    if options.engine == "ray":
        return RayDrawer(model, options, f"commoncanvas-{socket.gethostname()}-{port}")
    return LocalDrawer(load_model(model), options.threads)


def make_engine(drawer: Drawer, limits: ServeOptions, *, shared: bool) -> Engine:
    """An engine that has drawn one image in a few steps, so that it knows about how long a batch takes."""
    first = drawer.model.filled(Request("", DrawOptions(precision=limits.precision)))
    steps = min(WARM_UP_STEPS, first.options.steps or 1)
    first = first._replace(options=replace(first.options, steps=steps))
    queue = limits.queue or max(drawer.lanes * drawer.batch_size(first.options), FEWEST_WAITING)
    engine = Engine(drawer, queue, shared=shared, metrics=Metrics())
    engine.metrics.follow(lambda: engine.waiting, lambda: engine.replicas)
    job = Job(first, "")
    engine.submit([job])
    job.done.result()
    return engine
