"""The training images nearest to what the server draws. They are from the catalogs that it shows."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from commoncanvas.core.errors import CommonCanvasError
from commoncanvas.core.text import one_line
from commoncanvas.evaluation.folder import diffusion_provenance
from commoncanvas.memorisation.finder import Found, SourceFinder
from commoncanvas.models.pretrained import is_packaged, model_folder
from commoncanvas.provenance.folder import read_rows
from commoncanvas.serving.errors import ApiError
from commoncanvas.site.worker import Worker
from commoncanvas.table.rows import take_rows
from commoncanvas.table.table import Catalog
from commoncanvas.web.logs import log

COMPARED = 64
"""Training images by which a catalog is recognised."""
PATIENCE_S = 2.0
"""A request waits so long for the finder before it is asked to come again."""
AGAIN_S = 30.0
"""After a failure, the finder is loaded again at the earliest."""
MOST_WAITING = 64
"""Images whose sources are looked for, or wait for that."""
UNREADABLE = "the server can't look at the training images; its log says why"
"""People elsewhere read this: the reason may name folders of this machine."""
OPENMOJI = (
    "commoncanvas catalog import openmoji --catalog cc.lance",
    "commoncanvas catalog fetch --catalog cc.lance --size 64",
    "commoncanvas serve xs --catalog cc.lance",
)
"""How to get the catalog of the packaged model."""


class SourceDesk:
    """Loads a finder at the first question, and asks it in a thread of its own. Its methods are for the server's loop.

    `names`: the model's name of each catalog -> that in the site's addresses. `problem`: why there are no sources, and
    `commands` what to do about it.
    """

    def __init__(
        self,
        finder: SourceFinder | None,
        names: Mapping[str, str],
        problem: str = "",
        commands: Sequence[str] = (),
    ) -> None:
        self.names = names
        self.commands = tuple(commands)
        self.progress: tuple[int, int] | None = None
        """Training images that were looked at, and all, while the finder is loaded."""
        self._finder = finder
        self._problem = problem
        self._worker = Worker("sources")
        self._loading: Future[None] | None = None
        self._failed_at = 0.0
        self._waiting = 0

    @property
    def problem(self) -> str:
        """Why there are no sources, in a sentence; empty if there are."""
        return UNREADABLE if self._failed else self._problem

    @property
    def _failed(self) -> bool:
        loading = self._loading
        return loading is not None and loading.done() and loading.exception() is not None

    async def ready(self) -> None:
        """Raises ApiError: 400 with what to do if there are no sources, 503 while the finder is loaded."""
        if self._finder is not None:
            loading = asyncio.wrap_future(self._load(self._finder))
            loading.add_done_callback(_read)
            await asyncio.wait((loading,), timeout=PATIENCE_S)
            if not loading.done():
                so_far = "{:,} of {:,}".format(*self.progress) if self.progress else "not begun"
                raise _later(f"the server looks at the training images first ({so_far})", 5)
        if self.problem:
            raise ApiError(400, " ".join((f"sources: {self.problem}", *self.commands[-1:])), param="sources")

    async def find(self, images: Sequence[bytes], count: int) -> list[list[Found]]:
        """For each image file that the server drew the `count` nearest training images. Raises ApiError."""
        await self.ready()
        if self._waiting + len(images) > MOST_WAITING:
            raise _later("too many images wait for theirs", 2)
        self._waiting += len(images)
        try:
            return await asyncio.wrap_future(self._worker.submit(self._found, images, count))
        except CommonCanvasError as error:
            log("error", path="sources", error=one_line(error))
            raise ApiError(500, f"sources: {UNREADABLE}") from error
        finally:
            self._waiting -= len(images)

    async def of(self, images: Sequence[bytes], count: int) -> list[list[dict[str, Any]]]:
        """The same for clients of the API."""
        return [[self._shown(each) for each in found] for found in await self.find(images, count)]

    def _load(self, finder: SourceFinder) -> Future[None]:
        again = self._failed and time.monotonic() - self._failed_at > AGAIN_S
        if self._loading is None or again:
            self._loading = self._worker.submit(self._loaded, finder)
        return self._loading

    def _loaded(self, finder: SourceFinder) -> None:
        def looked_at(done: int, every: int) -> None:
            self.progress = done, every

        try:
            finder.load(looked_at)
        except Exception as error:
            self._failed_at = time.monotonic()
            log("error", path="sources", error=one_line(error) or repr(error))
            raise

    def _found(self, images: Sequence[bytes], count: int) -> list[list[Found]]:
        from PIL import Image

        assert self._finder is not None
        pixels = [np.asarray(Image.open(BytesIO(image)).convert("RGB")) for image in images]
        return self._finder.find(pixels, count)

    def _shown(self, found: Found) -> dict[str, Any]:
        return {
            "image_id": found.credit.image_id,
            "catalog": self.names[found.catalog],
            "credit": found.credit.text(),
            "license": found.credit.license,
            "page": found.credit.source_url,
            "distance": found.distance,
            "percentile": found.percentile,
            "copy": found.copy,
        }


def _later(why: str, seconds: int) -> ApiError:
    return ApiError(
        503,
        f"sources: {why}; try again soon",
        param="sources",
        code="sources_not_ready",
        headers={"retry-after": str(seconds)},
    )


def source_desk(model: str, name: str, pipeline: Any, catalogs: Mapping[str, Catalog]) -> SourceDesk:
    """Whoever finds the training images of a model. `name`: what clients call it. `pipeline`: the model, if it is
    loaded in this process, else None.
    """
    folder = model_folder(model)
    try:
        record, rows = diffusion_provenance(folder), read_rows(folder)
    except CommonCanvasError:
        lacking = "its folder has no provenance.json, or no rows.parquet"
        return SourceDesk(None, {}, f"nothing says which images {name} learned from: {lacking}")
    names = {
        own: found
        for own in record["catalogs"]
        if (found := _recognised(rows.filter(pc.equal(rows["catalog"], own)), catalogs)) is not None
    }
    missing = sorted(set(record["catalogs"]) - set(names))
    if missing:
        places = sorted({Path(str(record["catalogs"][own]["uri"])).name for own in missing})
        command = f"commoncanvas serve {Path(model).name} --catalog {' '.join(places)}"
        return SourceDesk(
            None,
            {},
            f"this server does not show the catalog that {name} learned from ({', '.join(places)}); start it with "
            "that catalog:",
            OPENMOJI if is_packaged(folder) else [command],
        )
    moved = [f"{own}={catalogs[found].uri}" for own, found in names.items()]
    return SourceDesk(SourceFinder(folder, moved, pipeline=pipeline), names)


def _recognised(rows: pa.Table, catalogs: Mapping[str, Catalog]) -> str | None:
    """The name of the catalog that has the rows that a model learned from: with the same ids."""
    trained = rows.filter(pc.equal(rows["split"], "train"))
    some = trained.take(np.unique(np.linspace(0, max(0, len(trained) - 1), COMPARED, dtype=np.int64)))
    pairs = set(zip(some["row_id"].to_pylist(), some["image_id"].to_pylist(), strict=True))
    for name, catalog in catalogs.items():
        there = take_rows(catalog.dataset, some["row_id"].to_numpy(), ["_rowid", "image_id"])
        if pairs & set(zip(there["_rowid"].to_pylist(), there["image_id"].to_pylist(), strict=True)):
            return name
    return None


def _read(future: asyncio.Future[None]) -> None:
    """asyncio complains of errors that nobody reads."""
    if not future.cancelled():
        future.exception()
