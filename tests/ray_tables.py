"""What the tests of the Ray engine work on: small tables in many fragments, and a server with pictures."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

from commoncanvas.catalog import Catalog
from commoncanvas.table.schema import to_batch
from tests.catalog.fetching.server import Answer, http, image_file

FRAGMENTS, ROWS = 8, 30
"""Of the tables here; rows a fragment."""


def numbers(path: Path) -> Catalog:
    catalog = Catalog.create(path)
    for fragment in range(FRAGMENTS):
        ids = range(fragment * ROWS, (fragment + 1) * ROWS)
        catalog.add([to_batch([{"image_id": f"n:{n}", "source": "n", "title": "x" * (n % 50)} for n in ids])])
    assert len(catalog.dataset.get_fragments()) == FRAGMENTS
    return catalog


def assert_complete(catalog: Catalog) -> None:
    rows = Catalog.open(catalog.uri).table(["title", "length"]).to_pylist()
    assert [row["length"] for row in rows] == [len(row["title"]) for row in rows]
    assert len(rows) == FRAGMENTS * ROWS


def calls(log: Path) -> Counter[str]:
    """How often the stage was called with each row."""
    return Counter(path.name.split("-")[1] for path in log.glob("row-*"))


class Pictures:
    """A server with pictures, missing ones, and a count of how many it was asked for at once."""

    def __init__(self, pause_s: float = 0.05) -> None:
        self.pause_s = pause_s
        self.now = self.most = 0

    def __call__(self, path: str) -> Answer:
        return self._answer(int(path.removeprefix("/")))

    async def _answer(self, number: int) -> AsyncIterator[bytes]:
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await asyncio.sleep(self.pause_s)
            picture = image_file(width=40 + number, height=30)
            yield http(picture) if number % 10 else http(status="404 Not Found")
        finally:
            self.now -= 1


def addresses(path: Path, url: str, fragments: int = 6, rows: int = 40) -> Catalog:
    catalog = Catalog.create(path)
    for start in range(0, fragments * rows, rows):
        batch = [
            {"image_id": f"w:{n}", "source": "web", "image_url": f"{url}/{n}"}
            for n in range(start, start + rows)
        ]
        catalog.add([to_batch(batch)])
    return catalog
