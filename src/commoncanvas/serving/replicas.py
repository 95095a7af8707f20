"""Replicas of a model on a Ray cluster, which Ray Serve starts, watches and replaces."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from commoncanvas.core.console import say
from commoncanvas.core.errors import EngineError, MissingExtraError
from commoncanvas.core.text import counted, one_line
from commoncanvas.diffusion.batches import batch_size
from commoncanvas.drawing.model import load_model
from commoncanvas.drawing.requests import Request
from commoncanvas.engine.ray import PATIENCE_S, connected
from commoncanvas.options.generate import DrawOptions
from commoncanvas.options.serve import ReplicaOptions
from commoncanvas.serving.drawers import OnStep
from commoncanvas.serving.replica import Finished, Replica
from commoncanvas.web.logs import log

if TYPE_CHECKING:
    from PIL.Image import Image

TRIES = 3
"""If so many replicas are lost with the same batch, the batch is the cause."""
LOOK_S, STALE_S = 1.0, 15.0
"""Seconds between two looks at the replicas, and after which none is counted if the cluster gives no answer."""
CHECK_S, SILENT_S = 1.0, 30.0
"""Seconds between two checks of a replica, and after which a silent one is replaced."""
STARTS = 3
"""Failed starts of replicas, before the first lives, after which the server gives up."""


class RayDrawer:
    """Draws on `options.replicas` replicas of a running cluster; a batch whose replica is lost is drawn by another.

    `name`: of the application in Ray Serve; one that is left from a killed server is replaced. Raises ModelError,
    EngineError, MissingExtraError.
    """

    weights = None

    def __init__(self, model: str | Path, options: ReplicaOptions, name: str) -> None:
        self._serve = _ray_serve()
        self._ray = connected()
        self._name = name
        self._lost = (self._ray.exceptions.RayError, self._serve.exceptions.RayServeException)
        has_gpus = bool(self._ray.cluster_resources().get("GPU"))
        self.lanes = options.replicas or int(self._ray.cluster_resources().get("GPU", 0)) or 1
        threads = self._threads(options.threads, has_gpus)
        self.model = load_model(model, "cpu")
        # Only replicas draw. Here, sizes, settings and the tokenizer are enough.
        self.model.pipeline.to("meta")
        self._counted, self._counted_at = 0, 0.0
        self._ended = threading.Event()
        self._watch = threading.Thread(target=self._look_again, name="replicas", daemon=True)
        place = str(Path(model).resolve() if Path(model).exists() else model)
        deployment = self._serve.deployment(Replica).options(
            num_replicas=self.lanes,
            max_ongoing_requests=1,
            max_constructor_retry_count=STARTS,
            health_check_period_s=CHECK_S,
            health_check_timeout_s=SILENT_S,
            graceful_shutdown_wait_loop_s=0.1,
            graceful_shutdown_timeout_s=5,
            logging_config={"enable_access_log": False, "log_level": "ERROR"},
            ray_actor_options={"num_cpus": threads, "num_gpus": int(has_gpus)},
        )
        try:
            handle = self._deployed(deployment.bind(place, dict(self.model.about), threads))
            self._handle = handle.options(stream=True)
            self._device = handle.device.remote().result()
        except BaseException as error:
            self.close()
            if isinstance(error, self._lost):
                raise EngineError(f"the Ray cluster can't run replicas: {one_line(error)}") from error
            raise
        self._watch.start()
        each = counted(threads, "thread" if threads == 1 else "threads")
        say(f"{self.lanes} on the Ray cluster, {each} each", title="replicas:")

    @property
    def alive(self) -> int:
        return self._counted if time.monotonic() - self._counted_at < STALE_S else 0

    def batch_size(self, options: DrawOptions) -> int:
        return batch_size(self.model.pipeline, self._device, options.height or 0, options.width or 0)

    def images(
        self, requests: Sequence[Request], unfinished: Sequence[set[int]], on_step: OnStep
    ) -> list[Image]:
        """See Drawer. Raises EngineError if the batch lost TRIES replicas."""
        left = [set(steps) for steps in unfinished]
        for tried in range(1, TRIES + 1):
            try:
                return self._drawn(requests, left, on_step)
            except self._lost as error:
                log("replica lost", batch=len(requests), tries=tried, error=one_line(error))
        raise EngineError(f"{TRIES} replicas were lost, one after the other, with the same images")

    def close(self) -> None:
        """End the replicas, and Ray Serve if it has nothing else."""
        self._ended.set()
        with suppress(Exception):  # the cluster may be lost
            self._serve.delete(self._name)
            if not self._serve.status().applications:
                self._serve.shutdown()

    def _threads(self, asked: int | None, has_gpus: bool) -> int:
        """Threads of each replica. Raises EngineError if the cluster has too few cores."""
        nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        sizes = [(int(node.get("CPU", 0)), int(node.get("GPU", 0)) if has_gpus else None) for node in nodes]
        most = threads_that_fit(sizes, self.lanes)
        if not most or (asked or 0) > most:
            each = f"with {counted(asked, 'threads')} each " if asked else ""
            raise EngineError(
                f"{counted(self.lanes, 'replicas')} {each}don't fit on the Ray cluster, which has "
                f"{sum(cpus for cpus, _ in sizes)} CPUs and {sum(gpus or 0 for _, gpus in sizes)} GPUs; "
                "give smaller --replicas or --threads"
            )
        return asked or most

    def _deployed(self, application: Any) -> Any:
        """Start the replicas; returns their handle when all live. Raises EngineError."""
        serve = self._serve
        serve.start(proxy_location="Disabled")
        if self._name in serve.status().applications:
            serve.delete(self._name)
        target = serve.RunTarget(application, name=self._name, route_prefix=None)
        [handle] = serve.run_many([target], wait_for_applications_running=False)
        notice_at = time.monotonic() + PATIENCE_S
        while (state := self._look()) is None or state.status != "RUNNING":
            if state is not None and state.status == "DEPLOY_FAILED":
                raise EngineError(f"no replica can start on the Ray cluster: {_reason(state)}")
            if time.monotonic() > notice_at:
                notice_at = float("inf")
                free = self._ray.available_resources()
                say(
                    f"{self.alive} of {counted(self.lanes, 'replicas')} have started; free on the Ray cluster: "
                    f"{free.get('CPU', 0):g} CPUs, {free.get('GPU', 0):g} GPUs"
                )
            time.sleep(0.1)
        return handle

    def _look(self) -> Any:
        """Ray Serve's state of the application; None if it has none. Counts the replicas that live."""
        state = self._serve.status().applications.get(self._name)
        deployments = state.deployments.values() if state is not None else ()
        self._counted = sum(each.replica_states.get("RUNNING", 0) for each in deployments)
        self._counted_at = time.monotonic()
        return state

    def _look_again(self) -> None:
        while not self._ended.wait(LOOK_S):
            with suppress(Exception):  # the cluster has no answer, or not now
                self._look()

    def _drawn(self, requests: Sequence[Request], left: Sequence[set[int]], on_step: OnStep) -> list[Image]:
        """Have a batch drawn. An unfinished image that was shown is dropped from `left`."""
        events = self._handle.draw.remote(requests, left)
        finished = None
        try:
            for event in events:
                if isinstance(event, Finished):
                    finished = event
                    continue
                for place in event.unfinished:
                    left[place].discard(event.number)
                on_step(*event)
        finally:
            if finished is None:
                with suppress(Exception):
                    events.cancel()
        if finished is None:
            raise EngineError("a replica ended a batch without its images")
        if finished.error is not None:
            raise finished.error
        return list(finished.images)


def threads_that_fit(nodes: Sequence[tuple[int, int | None]], replicas: int) -> int:
    """The most threads that each replica can have; 0 if there is no place for so many.

    `nodes`: CPUs and GPUs of each; a replica needs one CPU for each thread, and one GPU unless these are None.
    """

    def places(threads: int) -> int:
        return sum(cpus // threads if gpus is None else min(cpus // threads, gpus) for cpus, gpus in nodes)

    most = max((cpus for cpus, _ in nodes), default=0)
    return max((threads for threads in range(1, most + 1) if places(threads) >= replicas), default=0)


def _ray_serve() -> Any:
    try:
        from ray import serve
    except ImportError as error:
        raise MissingExtraError(
            "serve --engine ray needs Ray Serve; pip install 'commoncanvas[replicas]'"
        ) from error
    logging.getLogger("ray.serve").setLevel(logging.CRITICAL)
    return serve


def _reason(state: Any) -> str:
    """Why an application failed: the last line of what Ray Serve says, which holds a traceback."""
    messages = [state.message, *(each.message for each in state.deployments.values())]
    lines = [line for line in "\n".join(messages).splitlines() if line.strip()]
    return one_line(lines[-1] if lines else "Ray Serve says nothing")
