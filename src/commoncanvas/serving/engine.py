"""Gives what waits to those who draw: requests that wait together share a batch, and no image depends on the others."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from commoncanvas.drawing.model import info_of
from commoncanvas.drawing.requests import Request
from commoncanvas.options.generate import DrawOptions
from commoncanvas.serving.drawers import Drawer
from commoncanvas.serving.metrics import Metrics
from commoncanvas.serving.queue import FairQueue

if TYPE_CHECKING:
    from PIL.Image import Image

NEWEST = 0.3
"""Weight of the last batch in the mean of the seconds for a step."""
GATHER, GATHER_S = 0.05, 0.05
"""An idle engine waits for more images of the first batch: a share of that batch's seconds, and the most seconds."""


class FullError(Exception):
    """The queue has no place; `retry_s`: when it will have."""

    def __init__(self, retry_s: float) -> None:
        super().__init__(f"the queue is full; try again in {retry_s:.1f} s")
        self.retry_s = retry_s


class StoppingError(Exception):
    """The server finishes what it accepted, and takes no more."""


class _AllLeft(Exception):
    """Nobody waits for the batch any more."""


@dataclass(eq=False)
class Job:
    """One image that somebody waits for. `request` has all settings. In the engine's thread, `on_preview` gets
    `previews` unfinished images, and `on_step` the number of steps that are done.
    """

    request: Request
    owner: str
    previews: int = 0
    on_preview: Callable[[Image], None] | None = None
    on_step: Callable[[int], None] | None = None
    done: Future[Image] = field(default_factory=Future)
    gone: bool = False
    asked_at: float = 0.0
    waited_s: float = 0.0

    def settle(self, found: Image | Exception) -> None:
        """Hand over the image, or the reason why there is none."""
        if self.done.cancelled():
            return
        if isinstance(found, Exception):
            self.done.set_exception(found)
        else:
            self.done.set_result(found)

    @property
    def kind(self) -> Hashable:
        """What all images of a batch have in common."""
        return replace(self.request.options, seed=0, negative_prompt="")

    @property
    def preview_steps(self) -> set[int]:
        """Steps after which an unfinished image is sent, evenly spread."""
        steps = self.request.options.steps or 1
        return {steps * number // (self.previews + 1) - 1 for number in range(1, self.previews + 1)} - {-1}


class Engine:
    """Jobs in, images out. Each method may be called from any thread.

    `most`: images that may wait. `shared`: see FairQueue. Each lane of the drawer has a thread here.
    """

    def __init__(self, drawer: Drawer, most: int, *, shared: bool, metrics: Metrics) -> None:
        self.model = drawer.model
        self.metrics = metrics
        self._drawer = drawer
        self._queue: FairQueue[Job] = FairQueue(most, shared)
        self._changed = threading.Condition()
        self._one_takes = threading.Lock()
        self._ends_at: dict[int, float] = {}
        """When the batch of each lane that draws will be done."""
        self._step_s = 0.0
        self._refusing = self._closed = False
        self._threads = [
            threading.Thread(target=self._run, args=(lane,), name=f"draw-{lane}", daemon=True)
            for lane in range(drawer.lanes)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def waiting(self) -> int:
        return len(self._queue)

    @property
    def ready(self) -> bool:
        return not self._refusing and all(thread.is_alive() for thread in self._threads)

    @property
    def replicas(self) -> int:
        """How many can draw now."""
        return self._drawer.alive

    def submit(self, jobs: list[Job]) -> None:
        """Accept all of one owner's jobs, or none. Raises FullError and StoppingError."""
        with self._changed:
            if not self.ready:
                raise StoppingError
            excess = self._queue.excess(jobs[0].owner, len(jobs))
            if excess:
                raise FullError(self._until_free_s(excess))
            for job in jobs:
                job.asked_at = time.monotonic()
            self._queue.add(jobs)
            self._changed.notify()

    def leave(self, jobs: list[Job]) -> None:
        """Nobody waits for these jobs any more: those that wait are dropped, and a batch of such jobs alone stops."""
        with self._changed:
            for job in jobs:
                job.gone = True
            dropped = self._queue.remove(jobs)
            for job in dropped:
                job.done.cancel()
        self.metrics.left.inc(len(dropped))

    def ahead(self, job: Job) -> int | None:
        """How many images that wait come before this one; None if it doesn't wait any more."""
        with self._changed:
            return self._queue.ahead(job)

    def refuse(self) -> None:
        """Take no more jobs. It takes no lock, because a signal's handler calls it."""
        self._refusing = True

    def finished(self) -> bool:
        """Whether each accepted job is done."""
        with self._changed:
            return not self._queue and not self._ends_at

    def close(self) -> None:
        """Draw what waits, and end the threads."""
        with self._changed:
            self._refusing = self._closed = True
            self._changed.notify()
        for thread in self._threads:
            thread.join()

    def _until_free_s(self, excess: int) -> float:
        """Seconds until so many images left the queue: the rest of a lane's batch, and whole batches after it."""
        first = self._queue.first()
        if first is None:
            return 0.0
        options = first.request.options
        batches = -(-excess // self._drawer.batch_size(options)) - 1
        now = time.monotonic()
        rests = sorted(max(0.0, self._ends_at.get(lane, now) - now) for lane in range(self._drawer.lanes))
        rounds, lane = divmod(batches, len(rests))
        return rests[lane] + rounds * self._batch_s(options)

    def _batch_s(self, options: DrawOptions) -> float:
        return self._step_s * (options.steps or 1)

    def _run(self, lane: int) -> None:
        while batch := self._next(lane):
            began = time.monotonic()
            self._draw(batch)
            with self._changed:
                self._measure(batch, time.monotonic() - began)
                del self._ends_at[lane]

    def _next(self, lane: int) -> Sequence[Job]:
        """The lane's next batch, as soon as something waits; empty at the end."""
        with self._one_takes, self._changed:
            idle = not self._queue
            self._changed.wait_for(lambda: self._queue or self._closed)
            first = self._queue.first()
            if first is None:
                return ()
            options = first.request.options
            at_once = self._drawer.batch_size(options)
            if idle:
                patience = min(GATHER * self._batch_s(options), GATHER_S)
                self._changed.wait_for(lambda: len(self._queue) >= at_once or self._closed, patience)
            taken = self._queue.take(at_once)
            now = time.monotonic()
            self._ends_at[lane] = now + self._batch_s(options)
            for job in taken:
                job.done.set_running_or_notify_cancel()
                job.waited_s = now - job.asked_at
            return taken

    def _draw(self, batch: Sequence[Job]) -> None:
        """Draw a batch. If that fails, draw its images one by one, so that only the guilty one fails."""
        try:
            images = self._images(batch)
        except _AllLeft:
            self.metrics.left.inc(len(batch))
            for job in batch:
                job.settle(_AllLeft())
        except Exception as error:
            if len(batch) == 1:
                batch[0].settle(error)
                return
            for job in batch:
                self._draw([job])
        else:
            self.metrics.drawn.inc(len(batch))
            for job, image in zip(batch, images, strict=True):
                image.info.update(info_of(job.request, self.model.about))
                job.settle(image)

    def _images(self, batch: Sequence[Job]) -> list[Image]:
        def on_step(places: range, step: int, unfinished: Mapping[int, Image]) -> None:
            if all(job.gone for job in batch):
                raise _AllLeft
            for place in places:
                job = batch[place]
                if job.on_step is not None and not job.gone:
                    job.on_step(step + 1)
                if job.on_preview is not None and place in unfinished and not job.gone:
                    job.on_preview(unfinished[place])

        return self._drawer.images(
            [job.request for job in batch], [job.preview_steps for job in batch], on_step
        )

    def _measure(self, batch: Sequence[Job], seconds: float) -> None:
        step_s = seconds / (batch[0].request.options.steps or 1)
        self._step_s = NEWEST * step_s + (1 - NEWEST) * self._step_s if self._step_s else step_s
        self.metrics.batch_images.observe(len(batch))
        self.metrics.batch_s.observe(seconds)
        for job in batch:
            self.metrics.wait_s.observe(job.waited_s)
