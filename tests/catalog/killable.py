"""What the kill tests kill: an import or a fetch in a process of its own, in small steps so that kills land inside."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from commoncanvas.catalog import Catalog, FetchOptions, curate, fetch, import_, takedown
from commoncanvas.catalog.curating import duplicates
from commoncanvas.catalog.importing.sources import Report, RowSource, source
from commoncanvas.catalog.importing.sources.countries import PLACE
from commoncanvas.engine import LocalEngine
from commoncanvas.table import append, backfill
from commoncanvas.table.schema import COUNTRY

ROWS = 3000


class Numbers(RowSource):
    """A slow source whose every row is a pure function of its number."""

    name = "numbers"

    def __init__(self, pause_s: float) -> None:
        self.pause_s = pause_s

    def rows(self, report: Report) -> Iterator[dict[str, Any]]:
        for number in range(ROWS):
            if number % 100 == 0:
                time.sleep(self.pause_s)
            yield {"image_id": f"numbers:{number}", "source": self.name, "title": "x" * (number % 50)}


class Places(Numbers):
    """The same rows, each fourth taken in Berlin, the others nobody knows where."""

    columns = (COUNTRY,)

    def rows(self, report: Report) -> Iterator[dict[str, Any]]:
        for number, row in enumerate(super().rows(report)):
            yield {**row, PLACE: (None, None) if number % 4 else (13.377704, 52.516275)}


class Pictures(Numbers):
    """The same rows from elsewhere, backwards, each with something in place of an image."""

    def rows(self, report: Report) -> Iterator[dict[str, Any]]:
        for row in reversed(list(Numbers(0).rows(report))):
            if row["image_id"].endswith("00"):
                time.sleep(self.pause_s)
            image = row["image_id"].encode() * 200
            yield {**row, "title": "another", "description": "new", "image": image, "fetch_status": "ok"}


class Squares:
    """A slow stage with heavy rows."""

    name = "squares"
    reads = ("title",)
    writes = (pa.field("square", pa.int64()), pa.field("padding", pa.large_binary()))
    done_column = "square"
    batch_size = 50
    todo = "square IS NULL"

    def __init__(self, pause_s: float) -> None:
        self.pause_s = pause_s

    def setup(self) -> None:
        """Nothing to load."""

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        time.sleep(self.pause_s)
        lengths = [len(title) for title in batch["title"].to_pylist()]
        padding = pa.array([bytes([length]) * 2000 for length in lengths], pa.large_binary())
        return pa.RecordBatch.from_arrays(
            [pa.array([n * n for n in lengths]), padding], names=["square", "padding"]
        )


def main(what: str, uri: str) -> None:
    append.FRAGMENT_ROWS = append.GROUP_ROWS = 300
    append.PART_ROWS = 150
    source.BATCH_ROWS = 100
    backfill.SLICE_SECONDS = 0.05
    backfill.COMMIT_SECONDS = 0.1
    match what:
        case "import":
            import_(Numbers(0.05), uri)
        case "places":
            import_(Places(0.05), uri)
        case "fill":
            import_(Pictures(0.05), uri)
        case "stage":
            Catalog.open(uri).backfill(Squares(0.03))
        case "stage-in-threads":
            Catalog.open(uri).backfill(Squares(0.05), engine=LocalEngine(2))
        case "import-drawings":
            import_("openmoji", uri)
            fetch(
                uri,
                FetchOptions(size=32),
                where="array_has(tags, 'person-activity') OR array_has(tags, 'family')",
            )
        case "curate":
            duplicates._COMMIT_FRAGMENTS = 1
            curate(uri, deduplicate=True, name="c-v1")
        case "takedown":
            ids = Path(f"{uri}.ids").read_text().split()
            takedown(uri, id=ids, reason="asked", purge=True, exclusive=True)
        case "fetch":
            fetch(
                uri,
                FetchOptions(size=32),
                where="array_has(tags, 'animals-nature') OR array_has(tags, 'food-drink')",
            )


if __name__ == "__main__":
    main(*sys.argv[1:])
