"""Captions for openly licensed images by a pretrained image-to-text model ("telephoning").

All captioners have one protocol. Each is a file in this folder, and a line in CAPTIONERS.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from importlib import import_module
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from commoncanvas.captioning.answers import not_a_caption, refusal
from commoncanvas.core.errors import ModelError
from commoncanvas.core.files import from_anywhere
from commoncanvas.images.image import encode_image
from commoncanvas.options.caption import CaptionerConfig
from commoncanvas.table.columns import ColumnInfo

CAPTIONERS: dict[str, str] = {
    "xs": "commoncanvas.captioning.xs:XSCaptioner",
    "blip2": "commoncanvas.captioning.blip2:Blip2Captioner",
    "vlm": "commoncanvas.captioning.vlm:VLMCaptioner",
    "openai": "commoncanvas.captioning.openai:OpenAICaptioner",
}
STATUSES = {
    "ok": "a caption",
    "cut": "a caption that was cut at the maximum length",
    "empty": "the model's answer is empty",
    "unsure": "the model is not sure enough of any caption (xs, with --unsure)",
    "refused": "the model or its server refused to answer",
    "not_a_caption": "not a caption, but JSON, code, a model's thoughts, or words to the user",
    "not_an_image": "the stored image can't be read",
    "model_error": "the model can't process this image",
    "timeout": "no answer in time",
    "connection": "no connection, or a lost connection",
    "http_4xx": "the server refused the request",
    "http_429": "too many requests, even after waiting",
    "http_5xx": "the server failed",
    "bad_answer": "an answer that does not follow the protocol",
}
"""The values of `<column>_status`."""
SILENT = 8
"""If a model or server fails on all images of a batch, and on at least so many, the images are not the cause."""


class Caption(NamedTuple):
    """The result for an image: its caption (None if there is none), and one of STATUSES."""

    text: str | None
    status: str = "ok"


def caption_of(answer: str, cut: bool = False) -> Caption:
    """A model's answer -> its caption, with single spaces, or the status that says why there is none.

    `cut`: the model reached the maximum length.
    """
    text = " ".join(answer.split())
    if not text:
        return Caption(None, "empty")
    if refusal(text):
        return Caption(None, "refused")
    if not_a_caption(text):
        return Caption(None, "not_a_caption")
    return Caption(text, "cut" if cut else "ok")


class Captioner(Protocol):
    """Writes one caption per image. The caption does not depend on other images in the batch."""

    info: ColumnInfo
    """The model: name, digest of the weights, settings, training data."""
    batch_size: int
    """Best number of images per call."""

    def prepare(self, image: bytes) -> Any:
        """A stored image -> an input of `caption`. Thread-safe. Raises ImageError."""

    def caption(self, prepared: Sequence[Any], ids: Sequence[str]) -> list[Caption]:
        """N prepared images -> N captions. `ids`: image ids, which seed the sampling."""


def load_captioner(config: CaptionerConfig) -> Captioner:
    """Load a captioner. Raises ModelError if the model can't be loaded as this kind, and MissingExtraError."""
    if config.kind not in CAPTIONERS:
        raise ModelError(f"there is no captioner {config.kind!r}; choose one of: {', '.join(CAPTIONERS)}")
    if config.unsure and config.kind != "xs":
        raise ModelError(
            f"unsure is for captioner xs, not for {config.kind}, which doesn't say how sure it is"
        )
    module, _, name = CAPTIONERS[config.kind].partition(":")
    captioner: Captioner = getattr(import_module(module), name)(config)
    return captioner


def for_workers(config: CaptionerConfig, info: ColumnInfo) -> CaptionerConfig:
    """The same config for processes in other folders, each with its own GPU. The precision is that of `info`, which the
    captioner in this process has.
    """
    return replace(
        config,
        model=from_anywhere(config.model),
        captioner=config.kind,
        device=config.device.partition(":")[0],
        precision=info.settings.get("precision", config.precision),
    )


def captions_of(captioner: Captioner, images: Sequence[NDArray[np.uint8]]) -> list[str]:
    """Captions of images uint8 [H, W, 3], RGB, that are not in a catalog; "" for an image without a caption."""
    prepared = [captioner.prepare(encode_image(image, "png")) for image in images]
    captions = captioner.caption(prepared, [str(number) for number in range(len(images))])
    return [caption.text or "" for caption in captions]
