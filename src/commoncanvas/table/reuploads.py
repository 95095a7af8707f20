"""Recognise images that were taken down and come back under another id.

A tombstone stores the digest of the file and a perceptual hash, but no image. So the hash alone must decide; `lookup`
can also compare pixels.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from commoncanvas.core.console import say
from commoncanvas.core.errors import ImageError
from commoncanvas.core.text import counted
from commoncanvas.images.copies import find_copy, make_query
from commoncanvas.images.image import decode
from commoncanvas.table.fetch_status import LOOKS_TAKEN_DOWN, TAKEN_DOWN
from commoncanvas.table.schema import IMAGE
from commoncanvas.table.sql import quoted
from commoncanvas.table.tombstones import Tombstones

NAMED = 10
"""Most refused rows that a notice names. The others have the status too."""


@dataclass(frozen=True)
class TakenDown:
    """Digests and perceptual hashes of images that were taken down, to compare new images with."""

    digests: frozenset[str] = frozenset()
    hashes: NDArray[np.uint64] = field(default_factory=lambda: np.empty(0, np.uint64))
    image_ids: tuple[str | None, ...] = ()
    """The image of each hash; None for a file that was in no row."""

    @classmethod
    def of(cls, stones: Tombstones, allow_lookalikes: bool = False) -> TakenDown:
        """From the tombstones at their last `refresh`. With `allow_lookalikes`: digests only."""
        table = stones.table
        digests = frozenset(pc.unique(table["sha256"]).drop_null().to_pylist())
        if allow_lookalikes:
            return cls(digests)
        hashed = table.filter(table["phash"].is_valid())
        return cls(digests, hashed["phash"].to_numpy(), tuple(hashed["image_id"].to_pylist()))

    def __bool__(self) -> bool:
        return bool(self.digests) or len(self.hashes) > 0

    def refusal(self, sha256: str | None, image: bytes) -> tuple[str, str] | None:
        """`fetch_status` and `fetch_error` if a row must not get the stored `image`; else None.

        `sha256`: digest of the original file.
        """
        if sha256 in self.digests:
            return TAKEN_DOWN, "the same file was taken down, under this id or another id"
        if not len(self.hashes):
            return None
        try:
            query = make_query(decode(image))
        except ImageError:
            return None  # it can't be decoded, so nobody can see it
        found = find_copy(query, self.hashes)
        if found is None:
            return None
        other = self.image_ids[found.index] or "a file"
        return LOOKS_TAKEN_DOWN, f"looks like {other}, which was taken down; to store it: --allow-lookalikes"

    def without(self, rows: pa.Table) -> tuple[pa.Table, list[str]]:
        """`rows` with a status instead of each refused image, and the ids of the refused ones."""
        if not self or "image" not in rows.column_names:
            return rows, []
        digests = rows["sha256"].to_pylist() if "sha256" in rows.column_names else [None] * len(rows)
        reasons = [
            None if image is None else self.refusal(digest, image)
            for digest, image in zip(digests, rows["image"].to_pylist(), strict=True)
        ]
        if not any(reasons):
            return rows, []
        refused = pa.array([reason is not None for reason in reasons])
        for number, name in enumerate(("fetch_status", "fetch_error")):
            values = pa.array([None if reason is None else reason[number] for reason in reasons], pa.string())
            if name not in rows.column_names:
                rows = rows.append_column(name, pa.nulls(len(rows), pa.string()))
            rows = _replaced(rows, name, pc.if_else(refused, values, rows[name]))
        for column in IMAGE:
            if column.name in rows.column_names and column.name not in ("fetch_status", "fetch_error"):
                nothing = pa.scalar(None, rows[column.name].type)
                rows = _replaced(rows, column.name, pc.if_else(refused, nothing, rows[column.name]))
        return rows, rows["image_id"].filter(refused).to_pylist()


def _replaced(rows: pa.Table, name: str, values: pa.ChunkedArray) -> pa.Table:
    place = rows.schema.get_field_index(name)
    return rows.set_column(place, rows.schema.field(place), values)


def say_lookalikes(uri: str, image_ids: Sequence[str]) -> None:
    """Print the rows whose images look like taken-down images, and the command that stores one anyway."""
    if not image_ids:
        return
    shown = ", ".join(image_ids[:NAMED]) + (", ..." if len(image_ids) > NAMED else "")
    say(
        f"{counted(len(image_ids), 'images')} not stored, as they look like images that were taken down from {uri}: "
        f"{shown}; to store one that is a different image: commoncanvas catalog fetch --catalog {shlex.quote(uri)} "
        f'--allow-lookalikes --where "image_id = {quoted(image_ids[0])}", or import it with --allow-lookalikes'
    )
