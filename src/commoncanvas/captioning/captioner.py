"""Telephoning: a pretrained image-to-text model writes the captions that openly licensed images lack.

One protocol for every captioner: each is a file beside this one, and a line in CAPTIONERS.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from commoncanvas.captioning.answers import not_a_caption, refusal
from commoncanvas.core.errors import ModelError
from commoncanvas.core.files import from_anywhere
from commoncanvas.images.image import encode_image
from commoncanvas.table.columns import ColumnInfo

Kind = Literal["xs", "blip2", "vlm", "openai"]
Precision = Literal["auto", "fp32", "bf16", "fp16"]

CAPTIONERS: dict[str, str] = {
    "xs": "commoncanvas.captioning.xs:XSCaptioner",
    "blip2": "commoncanvas.captioning.blip2:Blip2Captioner",
    "vlm": "commoncanvas.captioning.vlm:VLMCaptioner",
    "openai": "commoncanvas.captioning.openai:OpenAICaptioner",
}
STATUSES = {
    "ok": "a caption",
    "cut": "a caption that was cut at its greatest length",
    "empty": "the model had nothing to say",
    "refused": "the model or its server refused to answer",
    "not_a_caption": "an answer that is no caption: JSON, code, a model's thoughts, words to the user",
    "not_an_image": "the stored image can't be read",
    "model_error": "the model can't take this image",
    "timeout": "no answer in time",
    "connection": "no connection, or one that broke",
    "http_4xx": "the server refused the request",
    "http_429": "too many requests, also after waiting",
    "http_5xx": "the server failed",
    "bad_answer": "an answer that is not what the protocol says",
}
"""What `<column>_status` may be."""


class Caption(NamedTuple):
    """What became of an image: its caption, None if there is none, and one of STATUSES."""

    text: str | None
    status: str = "ok"


def caption_of(answer: str, cut: bool = False) -> Caption:
    """What a model wrote -> its caption, with blanks made single; or the status that says why it is none.

    `cut`: the model was stopped at its greatest length.
    """
    text = " ".join(answer.split())
    if not text:
        return Caption(None, "empty")
    if refusal(text):
        return Caption(None, "refused")
    if not_a_caption(text):
        return Caption(None, "not_a_caption")
    return Caption(text, "cut" if cut else "ok")


class CaptionerConfig(NamedTuple):
    """A captioner by kind and model (a folder or hub id; a server's name for it), and how it is to write.

    What is None is the captioner's own default. `seed` matters where `temperature` isn't 0.
    """

    kind: str
    model: str
    revision: str | None = None
    prompt: str | None = None
    max_tokens: int | None = None
    beams: int | None = None
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    precision: Precision = "auto"
    device: str = "auto"
    batch_size: int | None = None
    base_url: str | None = None
    concurrency: int = 16

    @classmethod
    def of(cls, model: str | Path, **settings: Any) -> CaptionerConfig:
        """The captioner in a folder or of a hub id. Raises ModelError."""
        return cls(kind_of(str(model)), str(model), **settings)

    def for_workers(self, info: ColumnInfo) -> CaptionerConfig:
        """The same for processes in other folders, each with a GPU of its own, whatever its number is elsewhere; in
        the precision that `info`, the captioner's here, has.
        """
        precision = info.settings.get("precision", self.precision)
        model, device = from_anywhere(self.model), self.device.partition(":")[0]
        return self._replace(model=model, device=device, precision=precision)


class Captioner(Protocol):
    """Writes one caption an image; the same for an image whatever else is in its batch."""

    info: ColumnInfo
    """Who writes: name, digest of the weights, settings, what it learned from."""
    batch_size: int
    """Images that are best given at once."""

    def prepare(self, image: bytes) -> Any:
        """An image as the catalog stores it -> what `caption` takes; from any thread. Raises ImageError."""

    def caption(self, prepared: Sequence[Any], ids: Sequence[str]) -> list[Caption]:
        """Any number of prepared images, and what tells them apart if chance is to decide -> as many captions."""


def load_captioner(config: CaptionerConfig) -> Captioner:
    """Raises ModelError for a model that can't be loaded as that kind, MissingExtraError."""
    if config.kind not in CAPTIONERS:
        raise ModelError(f"there is no captioner {config.kind!r}; there are: {', '.join(CAPTIONERS)}")
    module, _, name = CAPTIONERS[config.kind].partition(":")
    captioner: Captioner = getattr(import_module(module), name)(config)
    return captioner


def kind_of(model: str) -> Kind:
    """Which captioner the folder or hub id `model` is, by its configuration. Raises ModelError."""
    folder = Path(model)
    if not folder.exists():
        return "blip2" if "blip2" in model.lower() else "vlm"
    try:
        kind = json.loads((folder / "config.json").read_text(encoding="utf-8"))["model_type"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"{model} is not a captioner's folder: it has no config.json that says its model_type"
        ) from error
    return {"commoncanvas-xs-captioner": "xs", "blip-2": "blip2"}.get(kind, "vlm")  # type: ignore[return-value]


def captions_of(captioner: Captioner, images: Sequence[NDArray[np.uint8]]) -> list[str]:
    """Captions of images uint8 [H, W, 3], RGB, that no catalog stores; "" where there is none."""
    prepared = [captioner.prepare(encode_image(image, "png")) for image in images]
    captions = captioner.caption(prepared, [str(number) for number in range(len(images))])
    return [caption.text or "" for caption in captions]
