"""A process of a Ray cluster that has a model and draws one batch after the other."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

from commoncanvas.core.errors import EngineError
from commoncanvas.drawing.model import load_model
from commoncanvas.drawing.requests import Request
from commoncanvas.engine.portable import portable
from commoncanvas.serving.drawers import LocalDrawer

if TYPE_CHECKING:
    from PIL.Image import Image

REPORT_S = 0.1
"""Least seconds between two reports without an image."""


class Step(NamedTuple):
    """The images at these places of the batch did a step; `unfinished`: images by their places."""

    places: range
    number: int
    unfinished: Mapping[int, Image]


class Finished(NamedTuple):
    """The batch is done: its images, or the error."""

    images: Sequence[Image]
    error: Exception | None = None


class _Stopped(Exception):
    """Nobody waits for the batch any more."""


class Replica:
    """Draws with `threads` torch threads. Raises EngineError if this node's model or commoncanvas is another than the
    server's, which is `about`.
    """

    def __init__(self, model: str, about: Mapping[str, str], threads: int) -> None:
        loaded = load_model(model)
        other = [f"{name} {loaded.about[name]}" for name in about if loaded.about[name] != about[name]]
        if other:
            expected = ", ".join(f"{name} {value}" for name, value in about.items())
            raise EngineError(f"a node has {', '.join(other)}; the server has {expected}")
        self._drawer = LocalDrawer(loaded, threads)
        # One thread: after a batch that was stopped, the next one waits for its last step.
        self._pool = ThreadPoolExecutor(1, "draw")

    def device(self) -> str:
        """The type of the device that draws."""
        return str(self._drawer.model.pipeline.device.type)

    async def draw(
        self, requests: Sequence[Request], unfinished: Sequence[set[int]]
    ) -> AsyncIterator[Step | Finished]:
        """Steps, at most one in REPORT_S seconds if it has no image; then the end. Stops if the caller cancels."""
        loop = asyncio.get_running_loop()
        events: asyncio.Queue[Step | Finished] = asyncio.Queue()
        stopped = threading.Event()

        def send(event: Step | Finished) -> None:
            loop.call_soon_threadsafe(events.put_nowait, event)

        loop.run_in_executor(self._pool, self._draw, requests, unfinished, send, stopped)
        try:
            while True:
                event = await events.get()
                yield event
                if isinstance(event, Finished):
                    return
        finally:
            stopped.set()

    def _draw(
        self,
        requests: Sequence[Request],
        unfinished: Sequence[set[int]],
        send: Callable[[Step | Finished], object],
        stopped: threading.Event,
    ) -> None:
        reported = 0.0

        def on_step(places: range, step: int, images: Mapping[int, Image]) -> None:
            nonlocal reported
            if stopped.is_set():
                raise _Stopped
            if images or time.monotonic() - reported >= REPORT_S:
                reported = time.monotonic()
                send(Step(places, step, images))

        try:
            send(Finished(self._drawer.images(requests, unfinished, on_step)))
        except _Stopped:
            return
        except Exception as error:
            # Ray would raise its own type, which means that the replica was lost.
            send(Finished((), portable(error)))
