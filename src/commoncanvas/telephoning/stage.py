"""The stage that runs a captioner over the catalog."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyarrow as pa

from commoncanvas.cpu import threads
from commoncanvas.errors import ImageError
from commoncanvas.telephoning.captioner import Caption, Captioner, CaptionerConfig, load_captioner

AHEAD = 8
"""Batches of the captioner that are looked at together, so that each can be of images of one size."""
DECODERS = 2


class CaptionStage:
    """Images -> a caption, what became of it (`<column>_status`), and the name of the model that wrote it.

    Pickled, it leaves its captioner behind; `setup` loads it again, as `config` says.
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
        self.column = column
        self.done_column = f"{column}_status"
        again = ", ".join(f"'{status}'" for status in retry)
        self.todo = f"{self.done_column} IS NULL" + (f" OR {self.done_column} IN ({again})" if again else "")
        self.info = self.captioner.info
        self.config = config.for_workers(self.info)
        self.batch_size = AHEAD * self.captioner.batch_size
        names = (column, f"{column}_model", self.done_column)
        self.writes = tuple(self.info.field(name, pa.string()) for name in names)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "captioner"}

    def setup(self) -> None:
        """Load the captioner that pickling left behind. Raises ModelError if another one is there by now."""
        if "captioner" not in self.__dict__:
            self.captioner = load_captioner(self.config)
            self.info.check(self.captioner.info.sha256)

    def prepare(self, batch: pa.RecordBatch) -> Callable[[], pa.RecordBatch]:
        """Decode; what is returned lets the model write."""
        with ThreadPoolExecutor(DECODERS, "decode") as pool:
            prepared = list(pool.map(self._prepared, batch["image"].to_pylist()))
        return lambda: self._written(batch["image_id"].to_pylist(), prepared)

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        return self.prepare(batch)()

    def _prepared(self, image: bytes) -> Any:
        try:
            return self.captioner.prepare(image)
        except ImageError as error:
            return error

    def _written(self, ids: list[str], prepared: list[Any]) -> pa.RecordBatch:
        threads().follow()
        good = [place for place, one in enumerate(prepared) if not isinstance(one, ImageError)]
        captions = [Caption(None, "not_an_image")] * len(ids)
        written = self.captioner.caption([prepared[place] for place in good], [ids[place] for place in good])
        for place, caption in zip(good, written, strict=True):
            captions[place] = caption
        columns = [
            [caption.text for caption in captions],
            [self.info.model] * len(captions),
            [caption.status for caption in captions],
        ]
        return pa.RecordBatch.from_arrays(
            [pa.array(values, pa.string()) for values in columns], names=[field.name for field in self.writes]
        )
