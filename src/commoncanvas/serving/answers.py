"""From a client's request to its answer: jobs for the engine, PNG files, and the end if the client leaves."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from threading import Lock
from typing import TYPE_CHECKING, Any

from starlette.requests import Request

from commoncanvas.core.errors import RecipeError
from commoncanvas.drawing import png
from commoncanvas.drawing.credentials import Signing
from commoncanvas.serving.engine import Engine, FullError, Job, StoppingError
from commoncanvas.serving.errors import ApiError, openai_form
from commoncanvas.serving.files import Files
from commoncanvas.web.logs import log

if TYPE_CHECKING:
    from PIL.Image import Image

GONE = 499
"""The status in the log and in the metrics if a client left."""
ENCODERS = 2
"""Threads that write PNG files."""


About = Callable[[list[bytes]], Awaitable[list[dict[str, Any]]]]
"""What an answer says of each image beside its file."""


class Studio:
    """The engine, and what its images pass on their way to the client. `kept`: those that are fetched by URL."""

    def __init__(self, engine: Engine, signing: Signing) -> None:
        self.engine = engine
        self.signing = signing
        self.kept = Files()
        self._one_signs = Lock()
        self._encoders = ThreadPoolExecutor(ENCODERS, "png")

    def submit(self, jobs: list[Job]) -> None:
        """Raises ApiError: 429 with the seconds to wait if the queue is full, 503 if the server ends."""
        try:
            self.engine.submit(jobs)
        except FullError as error:
            # OpenAI's clients read the milliseconds.
            headers = {
                "retry-after": str(max(1, round(error.retry_s + 0.5))),
                "retry-after-ms": str(max(50, round(1000 * error.retry_s))),
            }
            raise ApiError(429, str(error), headers=headers) from error
        except StoppingError as error:
            headers = {"retry-after": "5"}
            raise ApiError(503, "this server is ending; try again soon", headers=headers) from error

    async def files(self, jobs: list[Job], request: Request) -> list[bytes] | None:
        """The PNG file of each job; None if the client left before. Raises ApiError."""
        drawn = asyncio.gather(*(self.file(job) for job in jobs))
        left = asyncio.ensure_future(_left(request))
        try:
            await asyncio.wait((drawn, left), return_when=asyncio.FIRST_COMPLETED)
            return await drawn if drawn.done() else None
        except RecipeError as error:
            raise ApiError(400, str(error)) from error
        finally:
            left.cancel()
            if not all(job.done.done() for job in jobs):
                self.engine.leave(jobs)
            drawn.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await drawn

    async def file(self, job: Job) -> bytes:
        image = await asyncio.wrap_future(job.done)
        return await self.encoded(image, True)

    async def encoded(self, image: Image, finished: bool) -> bytes:
        """A PNG file; with texts and credentials if the image is finished."""
        run = asyncio.get_running_loop().run_in_executor
        return await run(self._encoders, self._finished if finished else _plain, image)

    def _finished(self, image: Image) -> bytes:
        content = png.encoded(image)
        with self._one_signs:
            return self.signing.added(content)

    def events(
        self, job: Job, common: dict[str, Any], usage: dict[str, Any], about: About
    ) -> AsyncIterator[str]:
        """Submit a job; returns its server-sent events: unfinished images, then the finished one. Raises ApiError."""
        loop = asyncio.get_running_loop()
        previews: asyncio.Queue[Image] = asyncio.Queue()

        def on_preview(image: Image) -> None:
            with suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(previews.put_nowait, image)

        job.on_preview = on_preview
        self.submit([job])
        return self._events(job, previews, common, usage, about)

    async def _events(
        self,
        job: Job,
        previews: asyncio.Queue[Image],
        common: dict[str, Any],
        usage: dict[str, Any],
        about: About,
    ) -> AsyncIterator[str]:
        done = asyncio.ensure_future(self.file(job))
        number = 0
        try:
            while not (done.done() and previews.empty()):
                waiting = asyncio.ensure_future(previews.get())
                await asyncio.wait((done, waiting), return_when=asyncio.FIRST_COMPLETED)
                if not waiting.done():
                    waiting.cancel()
                    break
                partial = await self.encoded(waiting.result(), False)
                yield _event("partial_image", partial, common, partial_image_index=number)
                number += 1
            content = await done
            [more] = await about([content])
            yield _event("completed", content, common, usage=usage, **more)
        except Exception as error:
            log("error", path="stream", error=repr(error))
            yield f"event: error\ndata: {json.dumps(openai_form(500, 'drawing failed'))}\n\n"
        finally:
            if not job.done.done():
                self.engine.leave([job])
            done.cancel()

    def close(self) -> None:
        self.engine.close()
        self._encoders.shutdown()


async def _left(request: Request) -> None:
    """Returns when the client closes its connection. The body must have been read."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _plain(image: Image) -> bytes:
    from io import BytesIO

    file = BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def _event(kind: str, content: bytes, common: dict[str, Any], **more: Any) -> str:
    name = f"image_generation.{kind}"
    body = {
        "type": name,
        "b64_json": base64.b64encode(content).decode(),
        "created_at": int(time.time()),
        **common,
        **more,
    }
    return f"event: {name}\ndata: {json.dumps(body)}\n\n"
