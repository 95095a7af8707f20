"""The rows that a run sees: a pinned version of the catalog, filtered, split, in an order that only they decide."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from commoncanvas import licenses
from commoncanvas.catalog import Catalog
from commoncanvas.config import DataConfig
from commoncanvas.errors import TrainingError


@dataclass(frozen=True)
class TrainingRows:
    """`table`: image_id, row_id, split ('train' or 'heldout'), text, license, creator; sorted by image_id."""

    catalog: Catalog
    filter: str
    table: pa.Table

    def ids(self, split: str) -> NDArray[np.uint64]:
        """Stable row ids [N] of one split."""
        chosen = self.table.filter(pc.field("split") == split)
        return np.asarray(chosen["row_id"].to_numpy(), dtype=np.uint64)

    def texts(self, split: str) -> list[str]:
        return [text or "" for text in self.table.filter(pc.field("split") == split)["text"].to_pylist()]

    def sha256(self) -> str:
        """Digest of what was chosen: image ids, split and text, in order."""
        digest = hashlib.sha256()
        for row in zip(
            *(self.table[name].to_pylist() for name in ("image_id", "split", "text")), strict=True
        ):
            digest.update(repr(row).encode())
        return digest.hexdigest()


def select_rows(
    data: DataConfig,
    requires: Sequence[str],
    version: int | str | None = None,
    text: Sequence[str] | None = None,
    heldout_text: Sequence[str] | None = None,
) -> TrainingRows:
    """Choose the rows of `data` whose columns `requires` are all set and whose licence the policy allows.

    `text` and `heldout_text` override the columns that give each split its text. Raises TrainingError if a column is
    missing or nothing is left to train on, saying which condition took the rows.
    """
    catalog = Catalog.open(data.catalog, version=version if version is not None else data.version)
    missing = [name for name in requires if name not in catalog.schema.names]
    if missing:
        raise TrainingError(
            f"catalog {data.catalog} (version {catalog.version}) has no column {', '.join(missing)}; "
            "run the stage that makes it first"
        )
    conditions = ["fetch_status = 'ok'"]
    if data.filter:
        conditions.append(f"({data.filter})")
    conditions.append(licenses.sql_filter(licenses.Policy(data.policy), data.allow_no_derivatives))
    conditions += [f"{name} IS NOT NULL" for name in requires]
    where = " AND ".join(conditions)

    columns = list(text or data.text)
    heldout_columns = list(heldout_text or data.heldout_text or columns)
    present = [name for name in dict.fromkeys(columns + heldout_columns) if name in catalog.schema.names]
    found = catalog.table(
        [*dict.fromkeys(["image_id", "license", "creator", *present])], filter=where, with_row_id=True
    )
    found = found.sort_by("image_id")
    heldout = heldout_mask(found["image_id"].to_pylist(), data.heldout_fraction)
    table = pa.table(
        {
            "image_id": found["image_id"],
            "row_id": found["_rowid"],
            "split": pa.array(np.where(heldout, "heldout", "train")),
            "text": pc.if_else(
                pa.array(heldout), _coalesce(found, heldout_columns), _coalesce(found, columns)
            ),
            "license": found["license"],
            "creator": found["creator"],
        }
    )
    if heldout.all():
        raise TrainingError(_explain_empty(catalog, conditions))
    return TrainingRows(catalog, where, table)


def heldout_mask(image_ids: Sequence[str], fraction: float) -> NDArray[np.bool_]:
    """[N] True where an image is held out: a pure function of its id, whatever the run."""
    limit = int(fraction * 2**64)
    draws = (
        int.from_bytes(hashlib.sha256(f"heldout:{image_id}".encode()).digest()[:8]) for image_id in image_ids
    )
    return np.fromiter((draw < limit for draw in draws), dtype=np.bool_, count=len(image_ids))


def _coalesce(table: pa.Table, columns: Sequence[str]) -> pa.ChunkedArray:
    """The first non-null of `columns`, row by row."""
    arrays = [table[name] for name in columns if name in table.column_names]
    return pc.coalesce(*arrays) if arrays else pa.chunked_array([pa.nulls(len(table), pa.string())])


def _explain_empty(catalog: Catalog, conditions: list[str]) -> str:
    left = [f"{catalog.count()} rows"]
    for count in range(1, len(conditions) + 1):
        left.append(f"{catalog.count(' AND '.join(conditions[:count]))} after {conditions[count - 1][:80]}")
    return f"catalog {catalog.uri} (version {catalog.version}) has nothing to train on: {', '.join(left)}"
