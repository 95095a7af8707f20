"""The stage that runs a captioner over the catalog."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyarrow as pa

from commoncanvas.captioning.captioner import SILENT, Caption, Captioner, for_workers, load_captioner
from commoncanvas.core.console import say
from commoncanvas.core.errors import ImageError, ModelError
from commoncanvas.core.text import one_line
from commoncanvas.options.caption import CaptionerConfig

AHEAD = 8
"""Batches that the captioner gets together, so that it can sort images by size."""
DECODERS = 2


class CaptionStage:
    """Images -> a caption, its status (`<column>_status`), and the name of the model.

    The captioner is not pickled; `setup` loads it again from `config`.
    """

    name = "captions"
    reads = ("image_id", "image")
    busy_s = 0.0

    def __init__(
        self,
        config: CaptionerConfig,
        column: str,
        retry: Sequence[str] = (),
        captioner: Captioner | None = None,
    ) -> None:
        self.captioner = captioner or load_captioner(config)
        self._failure: str | None = None
        """The first of the model's own errors, in words."""
        self.column = column
        self.done_column = f"{column}_status"
        again = ", ".join(f"'{status}'" for status in retry)
        self.todo = f"{self.done_column} IS NULL" + (f" OR {self.done_column} IN ({again})" if again else "")
        self.info = self.captioner.info
        self.config = for_workers(config, self.info)
        self.batch_size = AHEAD * self.captioner.batch_size
        names = (column, f"{column}_model", self.done_column)
        self.writes = tuple(self.info.field(name, pa.string()) for name in names)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "captioner"}

    def setup(self) -> None:
        """Load the captioner after unpickling. Raises ModelError if its weights have changed."""
        if "captioner" not in self.__dict__:
            self.captioner = load_captioner(self.config)
            self.info.check(self.captioner.info.sha256)

    def prepare(self, batch: pa.RecordBatch) -> Callable[[], pa.RecordBatch]:
        """Decode the images; the returned function runs the model."""
        with ThreadPoolExecutor(DECODERS, "decode") as pool:
            prepared = list(pool.map(self._prepared, batch["image"].to_pylist()))
        return lambda: self._written(batch["image_id"].to_pylist(), prepared)

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        return self.prepare(batch)()

    def _prepared(self, image: bytes) -> Any:
        """The captioner's input, or a Caption with the status of an image that can't be used."""
        try:
            return self.captioner.prepare(image)
        except ImageError:
            return Caption(None, "not_an_image")
        except (
            Exception
        ) as error:  # processors raise errors of any type, as for an image narrower than a patch
            return self._unusable(error)

    def _unusable(self, error: Exception) -> Caption:
        if self._failure is None:
            self._failure = f"{type(error).__name__}: {one_line(error)}"
            say(f"{self.name}: the model can't process an image: {self._failure}")
        return Caption(None, "model_error")

    def _written(self, ids: list[str], prepared: list[Any]) -> pa.RecordBatch:
        good = [place for place, one in enumerate(prepared) if not isinstance(one, Caption)]
        written = self._captions([prepared[place] for place in good], [ids[place] for place in good])
        captions: list[Caption] = list(prepared)
        for place, caption in zip(good, written, strict=True):
            captions[place] = caption
        if len(captions) >= SILENT and all(caption.status == "model_error" for caption in captions):
            raise ModelError(
                f"captioner {self.info.model} failed on all of {len(captions)} images: {self._failure}; "
                "earlier captions are kept"
            )
        return self._batch(captions)

    def _captions(self, prepared: list[Any], ids: list[str]) -> list[Caption]:
        """Captions of prepared images. If the model fails, tries each half again, to find the image that causes it."""
        try:
            return self.captioner.caption(prepared, ids)
        except ModelError:  # not caused by an image
            raise
        except Exception as error:  # models raise errors of any type
            if len(prepared) == 1:
                return [self._unusable(error)]
        middle = len(prepared) // 2
        return [
            *self._captions(prepared[:middle], ids[:middle]),
            *self._captions(prepared[middle:], ids[middle:]),
        ]

    def _batch(self, captions: list[Caption]) -> pa.RecordBatch:
        columns = [
            [caption.text for caption in captions],
            [self.info.model] * len(captions),
            [caption.status for caption in captions],
        ]
        return pa.RecordBatch.from_arrays(
            [pa.array(values, pa.string()) for values in columns], names=[field.name for field in self.writes]
        )
