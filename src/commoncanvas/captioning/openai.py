"""Captions from any server that speaks the chat-completions protocol with images: vLLM, SGLang, Ollama, and others."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import threading
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

from commoncanvas.captioning.captioner import Caption, CaptionerConfig, caption_of
from commoncanvas.captioning.vlm import VLMCaptioner
from commoncanvas.core.console import say
from commoncanvas.core.errors import ImageError, MissingExtraError, ModelError
from commoncanvas.core.text import counted
from commoncanvas.table.columns import ColumnInfo

T = TypeVar("T")

TIMEOUT_S = 120.0
RETRIES = 5
WINDOWS = 8
"""Images at once, in multiples of `concurrency`: the server is idle only at the end of so many."""
SILENT = 8
"""So many images and no answer to any: it is not the images."""
OTHER_LIMIT = "max_completion_tokens"
_FORMATS = {b"\xff\xd8\xff": "jpeg", b"\x89PN": "png", b"RIF": "webp"}


class OpenAICaptioner:
    """Asks `config.base_url` for `config.model`, `config.concurrency` images at a time.

    Rate limits, failures of the server and broken connections are waited out, as the server asks or longer and longer;
    what remains is the image's own status. A server that answers nothing at all ends the run. The key, if the server
    wants one, is taken from OPENAI_API_KEY.
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
        """The protocol's field for the greatest length; newer servers want OTHER_LIMIT."""
        self._temperature = True
        """Whether to send the temperature; some models refuse any but their own."""
        self._said: set[str] = set()
        self.batch_size = config.batch_size or WINDOWS * config.concurrency
        settings: dict[str, Any] = {"prompt": self._prompt, "max_tokens": self._max_tokens}
        settings["temperature"] = config.temperature
        if config.temperature:
            settings |= {"top_p": config.top_p, "seed": config.seed}
        # Nothing is known of the server's weights but what it calls them.
        digest = hashlib.sha256(f"openai:{config.model}".encode()).hexdigest()
        self.info = ColumnInfo(digest, (("image", None),), (), config.model, settings=settings)
        self._loop = asyncio.new_event_loop()
        # A loop of our own: the caller may have a running one (a notebook does).
        threading.Thread(target=self._loop.run_forever, name="openai", daemon=True).start()
        self._client = self._run(self._connected())

    def prepare(self, image: bytes) -> str:
        """The image as the catalog stores it, in a URL of its own."""
        format = _FORMATS.get(image[:3])
        if format is None:
            raise ImageError("not_an_image", "a stored image is no JPEG, PNG or WebP")
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
        """A client, after a look whether there is such a server and model."""
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
                # ValueError: what says that it is JSON, and is not.
                except (self._openai.OpenAIError, ValueError) as error:
                    failures.append(_reason(error))
                    status = self._status(error)
                    self._say_once(status, failures[-1])
                    return Caption(None, status)

        captions = await asyncio.gather(*(one(image) for image in prepared))
        if len(failures) == len(captions) >= SILENT:
            raise ModelError(
                f"the server at {self._config.base_url} has answered none of "
                f"{counted(len(captions), 'images')}: {failures[0]}; what was written before is "
                "kept, run again when it is back"
            )
        return captions

    def _say_once(self, status: str, reason: str) -> None:
        """The first failure of each kind, in the server's own words."""
        if status not in self._said:
            self._said.add(status)
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
                    self._say_once(
                        "temperature", "the model takes only its own temperature, so captions will differ"
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
    """The caption in what the server says, whatever it says."""
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
