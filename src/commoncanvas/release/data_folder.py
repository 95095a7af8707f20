"""A folder that `release data` or `catalog export` wrote, or a copy of it: its shards and their rows."""

from __future__ import annotations

import hashlib
import json
from array import array
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from commoncanvas.catalog.export_folder import DATA
from commoncanvas.core.errors import CatalogError, SourceError
from commoncanvas.readers.archives import samples
from commoncanvas.readers.tables import parquet_rows, parquet_schema
from commoncanvas.table.report import Report

ENDINGS = ("parquet", "tar")
ROWS_AT_ONCE = 65536


class DataFolder:
    """The folder at `path`. Raises CatalogError if it has no shards."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.shards = sorted(each for ending in ENDINGS for each in (path / DATA).glob(f"*.{ending}"))
        if not self.shards:
            raise CatalogError(f"{path} has no shards in {DATA}/; give the folder of a data set")

    def batches(self, columns: Sequence[str]) -> Iterator[list[dict[str, Any]]]:
        """The rows, at most ROWS_AT_ONCE at a time, with those of the `columns` that their shard has.

        Raises SourceError for a shard or a row that can't be read.
        """
        for path in self.shards:
            rows = _parquet(path, columns) if path.suffix == ".parquet" else _tar(path, columns)
            while batch := list(islice(rows, ROWS_AT_ONCE)):
                yield batch

    def id_hashes(self) -> NDArray[np.uint64]:
        """[N] `id_hash` of each row, in order."""
        found = array("Q")
        for batch in self.batches(("image_id",)):
            found.extend(id_hash(row.get("image_id")) for row in batch)
        return np.frombuffer(found, np.uint64) if found else np.empty(0, np.uint64)


def id_hash(image_id: object) -> int:
    """64 bits of an image id: a set of ids in less memory."""
    return int.from_bytes(hashlib.blake2b(str(image_id).encode(), digest_size=8).digest())


def _parquet(path: Path, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    report = Report()
    present = [name for name in columns if name in parquet_schema(path).names]
    for _, row in parquet_rows(path, report, present):
        yield row
    if report.complaints:
        raise SourceError(report.complaints[0])


def _tar(path: Path, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    for sample in samples(path, Report()):
        try:
            fields = json.loads(sample.parts["json"])
            yield {name: fields[name] for name in columns if name in fields}
        except (KeyError, TypeError, ValueError) as error:
            raise SourceError(f"{path} sample {sample.key} has no readable json") from error
