"""What happens while pictures are drawn, as server-sent events (https://html.spec.whatwg.org/#server-sent-events).

A `note` is a `text` about the prompt. Each other event is about one picture of the request, `image`, counted from 0:

- `place`: `ahead` images are drawn before it; null: it is being drawn
- `step`: `step` of `steps` are done
- `preview`: how it looks so far, `jpeg` in base64
- `done`: its `url`, and its `name` for what else is asked of it
- `error`: why there is no picture
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from functools import partial
from io import BytesIO
from typing import TYPE_CHECKING, Any

from commoncanvas.core.errors import CommonCanvasError
from commoncanvas.core.text import one_line
from commoncanvas.serving.answers import Studio
from commoncanvas.serving.engine import Job
from commoncanvas.serving.files import FILES
from commoncanvas.web.logs import log

if TYPE_CHECKING:
    from PIL.Image import Image

PREVIEWS = 6
"""Unfinished pictures of each: to decode one takes about as long as a step."""
PREVIEW_SIDE = 256
"""Pixels of the longer side."""
LOOK_S = 0.4
"""How often it is seen whether the place in the queue changed."""

Event = tuple[str, dict[str, Any]]


class Watched:
    """Jobs of one request, and what happens to them."""

    def __init__(self, studio: Studio, jobs: list[Job]) -> None:
        self.studio = studio
        self.jobs = jobs
        self._loop = asyncio.get_running_loop()
        self._events: asyncio.Queue[Event] = asyncio.Queue()
        self._places: dict[int, int | None] = {}
        for number, job in enumerate(jobs):
            steps = job.request.options.steps or 1
            job.previews = min(PREVIEWS, steps - 1)
            job.on_step = partial(self._stepped, number, steps)
            job.on_preview = partial(self._previewed, number)

    async def events(self, notes: Sequence[str]) -> AsyncIterator[str]:
        """`notes`, then events until all pictures are done. Who leaves before cancels the rest."""
        finishing = [asyncio.ensure_future(self._finished(*each)) for each in enumerate(self.jobs)]
        try:
            for note in notes:
                yield _text(("note", {"text": note}))
            self._look()
            while not (self._events.empty() and all(each.done() for each in finishing)):
                try:
                    yield _text(await asyncio.wait_for(self._events.get(), LOOK_S))
                except TimeoutError:
                    self._look()
        finally:
            if not all(job.done.done() for job in self.jobs):
                self.studio.engine.leave(self.jobs)
            for each in finishing:
                each.cancel()

    def _look(self) -> None:
        """Say the place of each job, if it is new."""
        for number, job in enumerate(self.jobs):
            ahead = self.studio.engine.ahead(job)
            if not job.done.done() and self._places.get(number, -1) != ahead:
                self._places[number] = ahead
                self._events.put_nowait(("place", {"image": number, "ahead": ahead}))

    async def _finished(self, number: int, job: Job) -> None:
        try:
            name = self.studio.kept.add(await self.studio.file(job))
        except Exception as error:
            log("error", path="draw", error=repr(error))
            why = one_line(error) if isinstance(error, CommonCanvasError) else "drawing failed"
            await self._events.put(("error", {"image": number, "message": why}))
        else:
            await self._events.put(("done", {"image": number, "name": name, "url": f"{FILES}{name}"}))

    def _stepped(self, number: int, steps: int, step: int) -> None:
        self._put("step", image=number, step=step, steps=steps)

    def _previewed(self, number: int, image: Image) -> None:
        self._put("preview", image=number, jpeg=base64.b64encode(_small(image)).decode())

    def _put(self, kind: str, **values: Any) -> None:
        """From the engine's thread."""
        with suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._events.put_nowait, (kind, values))


def _small(image: Image) -> bytes:
    made = image.convert("RGB")
    made.thumbnail((PREVIEW_SIDE, PREVIEW_SIDE))
    file = BytesIO()
    made.save(file, "JPEG", quality=80)
    return file.getvalue()


def _text(event: Event) -> str:
    kind, values = event
    return f"event: {kind}\ndata: {json.dumps(values)}\n\n"
