"""Captions from any server with the chat-completions protocol and images: vLLM, SGLang, Ollama, and others."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import threading
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

from commoncanvas.captioning.captioner import SILENT, Caption, caption_of
from commoncanvas.captioning.vlm import VLMCaptioner
from commoncanvas.core.console import say
from commoncanvas.core.errors import ImageError, MissingExtraError, ModelError
from commoncanvas.core.text import counted
from commoncanvas.options.caption import CaptionerConfig
from commoncanvas.table.columns import ColumnInfo

T = TypeVar("T")

TIMEOUT_S = 120.0
RETRIES = 5
WINDOWS = 8
"""Images per batch, in multiples of `concurrency`. The server is idle only at the end of a batch."""
OTHER_LIMIT = "max_completion_tokens"
_FORMATS = {b"\xff\xd8\xff": "jpeg", b"\x89PN": "png", b"RIF": "webp"}


class OpenAICaptioner:
    """Sends images to `config.model` at `config.base_url`, `config.concurrency` at a time.

    After rate limits, server errors and lost connections it waits and retries, for the time that the server asks or
    with growing pauses. If retries fail, the image gets a status. If the server answers nothing at all, the run ends.
    The key, if needed, is read from OPENAI_API_KEY.
    """

    def __init__(self, config: CaptionerConfig) -> None:
        try:
            import openai
        except ImportError as error:
            raise MissingExtraError(
                "the openai captioner needs openai; pip install 'commoncanvas[openai]'"
            ) from error
        if not config.base_url:
            raise ModelError("the openai captioner needs --base-url, such as http://localhost:8000/v1")
        self._openai = openai
        self._config = config
        self._prompt = config.prompt or VLMCaptioner.prompt
        self._max_tokens = config.max_tokens or VLMCaptioner.max_tokens
        self._length = "max_tokens"
        """The protocol's field for the maximum length. Newer servers need OTHER_LIMIT."""
        self._temperature = True
        """Whether to send the temperature. Some models refuse any value but their own."""
        self._reported: set[str] = set()
        self.batch_size = config.batch_size or WINDOWS * config.concurrency
        settings: dict[str, Any] = {"prompt": self._prompt, "max_tokens": self._max_tokens}
        settings["temperature"] = config.temperature
        if config.temperature:
            settings |= {"top_p": config.top_p, "seed": config.seed}
        # Only the model's name is known, not its weights.
        digest = hashlib.sha256(f"openai:{config.model}".encode()).hexdigest()
        self.info = ColumnInfo(digest, (("image", None),), (), config.model, settings=settings)
        self._loop = asyncio.new_event_loop()
        # Use our own event loop: the caller may already run one, as a notebook does.
        threading.Thread(target=self._loop.run_forever, name="openai", daemon=True).start()
        self._client = self._run(self._connected())

    def prepare(self, image: bytes) -> str:
        """The stored image as a data URL."""
        format = _FORMATS.get(image[:3])
        if format is None:
            raise ImageError("not_an_image", "a stored image is not JPEG, PNG or WebP")
        return f"data:image/{format};base64,{base64.b64encode(image).decode()}"

    def caption(self, prepared: Sequence[str], ids: Sequence[str]) -> list[Caption]:
        return self._run(self._all(prepared))

    def _run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        running = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return running.result()
        except BaseException:
            running.cancel()
            raise

    async def _connected(self) -> Any:
        """A client, after a check that the server and the model exist."""
        key = os.environ.get("OPENAI_API_KEY") or "none"
        client = self._openai.AsyncOpenAI(
            base_url=self._config.base_url, api_key=key, max_retries=RETRIES, timeout=TIMEOUT_S
        )
        try:
            models = [one.id async for one in client.with_options(max_retries=1, timeout=30.0).models.list()]
        except self._openai.NotFoundError:
            return client  # a server that does not list its models
        except self._openai.OpenAIError as error:
            raise ModelError(
                f"the server at {self._config.base_url} can't be used: {_reason(error)}"
            ) from error
        if models and self._config.model not in models:
            raise ModelError(
                f"the server at {self._config.base_url} has no model {self._config.model}; "
                f"it has {', '.join(models[:5])}"
            )
        return client

    async def _all(self, prepared: Sequence[str]) -> list[Caption]:
        at_once = asyncio.Semaphore(self._config.concurrency)
        failures: list[str] = []

        async def one(image: str) -> Caption:
            async with at_once:
                try:
                    return _read(await self._ask(image))
                # ValueError: a response that claims to be JSON but is not.
                except (self._openai.OpenAIError, ValueError) as error:
                    failures.append(_reason(error))
                    status = self._status(error)
                    self._report_once(status, failures[-1])
                    return Caption(None, status)

        captions = await asyncio.gather(*(one(image) for image in prepared))
        if len(failures) == len(captions) >= SILENT:
            raise ModelError(
                f"the server at {self._config.base_url} gave no answer for any of "
                f"{counted(len(captions), 'images')}: {failures[0]}; earlier captions are kept; "
                "run this again when the server works"
            )
        return captions

    def _report_once(self, status: str, reason: str) -> None:
        """Print the first failure of each kind, with the server's message."""
        if status not in self._reported:
            self._reported.add(status)
            say(f"captions: {status}: {reason}")

    async def _ask(self, image: str) -> Any:
        while True:
            length, temperature = self._length, self._temperature
            try:
                return await self._create(image, length, temperature)
            except self._openai.BadRequestError as error:
                if length != OTHER_LIMIT and OTHER_LIMIT in str(error):
                    self._length = OTHER_LIMIT
                elif temperature and not self._config.temperature and "temperature" in str(error):
                    self._temperature = False
                    self._report_once(
                        "temperature", "the model takes only its own temperature, so captions will vary"
                    )
                else:
                    raise

    async def _create(self, image: str, length: str, temperature: bool) -> Any:
        chance: dict[str, Any] = {"temperature": self._config.temperature} if temperature else {}
        if self._config.temperature:
            chance |= {"top_p": self._config.top_p, "seed": self._config.seed}
        return await self._client.chat.completions.create(
            model=self._config.model,
            messages=[
                {
                    "role": "user",
                    "content": [
                        {"type": "image_url", "image_url": {"url": image}},
                        {"type": "text", "text": self._prompt},
                    ],
                }
            ],
            **{length: self._max_tokens},
            **chance,
        )

    def _status(self, error: Exception) -> str:
        match error:
            case self._openai.APITimeoutError():
                return "timeout"
            case self._openai.APIConnectionError():
                return "connection"
            case self._openai.RateLimitError():
                return "http_429"
            case self._openai.APIStatusError():
                return "http_5xx" if error.status_code >= 500 else "http_4xx"
        return "bad_answer"


def _read(answer: Any) -> Caption:
    """The caption in a server's response, also if the response is malformed."""
    try:
        choice = answer.choices[0]
        text, reason = choice.message.content, choice.finish_reason
        refused = reason == "content_filter" or getattr(choice.message, "refusal", None)
        if text is not None and not isinstance(text, str):
            return Caption(None, "bad_answer")
    except (AttributeError, IndexError, TypeError):
        return Caption(None, "bad_answer")
    return Caption(None, "refused") if refused else caption_of(text or "", cut=reason == "length")


def _reason(error: Exception) -> str:
    cause = error.__cause__ or error
    return " ".join(f"{error} {cause if cause is not error else ''}".split())[:300]
