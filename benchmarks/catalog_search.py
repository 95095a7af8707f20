"""The page Catalog at the server, with a million rows: milliseconds for searches, filters, pages and thumbnails.

Run: python benchmarks/catalog_search.py [--rows 1000000] [--pictures 2000] [--folder FOLDER]. Needs the extra serve,
and 1.5 GB of disk for a million rows. It makes a catalog whose words are as frequent as those of a language (Zipf's
law), with licences, countries, years and creators; `pictures` of the rows have an image of 512 pixels. Then it serves
it, without indexes and with them, and asks over HTTP on loopback, one request after the other. No search is asked for
twice. With --folder, the catalog stays, and the next call measures alone.
"""

from __future__ import annotations

import argparse
import io
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from commoncanvas.catalog import Catalog
from commoncanvas.images.image import phash
from commoncanvas.table.schema import COUNTRY, SCHEMA

LANGUAGE = 50_000
"""Different words."""
AT_ONCE = 16_384
CREATORS = 30_000
LICENSES = (
    "CC-BY-2.0",
    "CC-BY-SA-2.0",
    "CC-BY-NC-2.0",
    "CC-BY-NC-SA-2.0",
    "CC-BY-NC-ND-2.0",
    "CC-BY-ND-2.0",
    "CC0-1.0",
)
COUNTRIES = ("US", "GB", "FR", "DE", "JP", "BR", "IN", "KE", "CA", "IT", None, None)
LIMIT_MS = 300
PER_PAGE = 60
UNINDEXED = 5
"""Searches of a kind without indexes: each takes seconds."""


def word(number: int) -> str:
    """Pronounceable, and no two alike: digits of 85 syllables."""
    syllables = [consonant + vowel for consonant in "bcdfghjklmnprstvz" for vowel in "aeiou"]
    text, rest = "", number + 85
    while rest:
        rest, place = divmod(rest, len(syllables))
        text += syllables[place]
    return text


WORDS = np.array([word(number) for number in range(LANGUAGE)], object)


class Writer:
    """Makes rows."""

    def __init__(self, rows: int, pictures: int) -> None:
        self.draw = np.random.default_rng(0)
        self.rows, self.pictures = rows, pictures
        frequency = 1 / np.arange(3, LANGUAGE + 3)
        self.cumulated = np.cumsum(frequency / frequency.sum())

    def batches(self) -> Iterator[pa.RecordBatch]:
        for start in range(0, self.rows, AT_ONCE):
            yield from self.batch(start, min(AT_ONCE, self.rows - start)).to_batches()

    def batch(self, start: int, count: int) -> pa.Table:
        draw = self.draw
        makers = np.minimum(draw.zipf(1.3, count), CREATORS)
        years = draw.integers(1_000_000_000, 1_600_000_000, count) * 1_000_000
        images = [
            self.image(number) if number < self.pictures else None for number in range(start, start + count)
        ]
        columns: dict[str, Any] = {
            "image_id": [f"made:{number}" for number in range(start, start + count)],
            "source": ["made"] * count,
            "title": self.texts(count, 1, 8),
            "description": self.texts(count, 0, 25),
            "tags": [text.split() for text in self.texts(count, 0, 10)],
            "creator": [f"{WORDS[maker]} {WORDS[maker * 7 % LANGUAGE]}" for maker in makers],
            "license": draw.choice(np.array(LICENSES, object), count).tolist(),
            "country": draw.choice(np.array(COUNTRIES, object), count).tolist(),
            "taken_at": pa.array(years, pa.int64()).cast(SCHEMA.field("taken_at").type),
            "image": pa.array([image and image[0] for image in images], pa.large_binary()),
            "phash": pa.array(self.hashes(images, count), pa.uint64()),
            "sha256": [f"{number:064x}" for number in range(start, start + count)],
            "fetch_status": pa.array(["ok" if image else None for image in images], pa.string()),
        }
        return pa.table(columns)

    def texts(self, count: int, least: int, most: int) -> list[str]:
        lengths = self.draw.integers(least, most, count)
        places = np.searchsorted(self.cumulated, self.draw.random(lengths.sum()))
        words, ends = WORDS[np.minimum(places, LANGUAGE - 1)], np.cumsum(lengths)
        return [" ".join(words[end - length : end]) for end, length in zip(ends, lengths, strict=True)]

    def hashes(self, images: list[tuple[bytes, int] | None], count: int) -> NDArray[np.uint64]:
        drawn = self.draw.integers(0, 2**64, count, np.uint64)
        for place, image in enumerate(images):
            if image is not None:
                drawn[place] = image[1]
        return drawn

    def image(self, number: int) -> tuple[bytes, int]:
        """A JPEG of about 20 KB, and its perceptual hash."""
        draw = np.random.default_rng(number)
        made = Image.new("RGB", (512, 384))
        pen = ImageDraw.Draw(made)
        for x, y, radius in draw.integers(0, 512, (120, 3)).tolist():
            colour = tuple(draw.integers(0, 256, 3).tolist())
            pen.ellipse((x - radius // 6, y - radius // 6, x + radius // 6, y + radius // 6), fill=colour)
        file = io.BytesIO()
        made.save(file, "JPEG", quality=90)
        return file.getvalue(), phash(np.asarray(made))


def make(uri: Path, rows: int, pictures: int) -> None:
    began = time.perf_counter()
    catalog = Catalog.create(uri)
    catalog.add_columns([COUNTRY])
    catalog.add(Writer(rows, pictures).batches())
    print(f"made {rows:,} rows in {time.perf_counter() - began:,.0f} s", flush=True)


@contextmanager
def serving(uri: Path) -> Iterator[httpx.Client]:
    command = [sys.executable, "-m", "commoncanvas", "serve", "--catalog", str(uri), "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as server:
        assert server.stderr is not None
        address = None
        while address is None:
            line = server.stderr.readline()
            if not line:
                raise RuntimeError("the server ended")
            found = re.search(r"http://\S+/", line)
            address = found and found[0]
        drain = subprocess.Popen(["cat"], stdin=server.stderr, stdout=subprocess.DEVNULL)
        try:
            with httpx.Client(base_url=address, timeout=300) as client:
                client.get("/catalog")  # counts the values of the filters
                yield client
        finally:
            server.terminate()
            drain.wait()


class Measured:
    """Asks, and prints a line a kind of request. After the first page of a search it asks for the next and a far one,
    as the page's script does."""

    def __init__(self, client: httpx.Client, most: int | None = None) -> None:
        self.client, self.most = client, most
        self.draw = np.random.default_rng(2)
        self.later: dict[str, list[float]] = {"next page": [], "far page": []}
        self.slowest = 0.0

    def search(self, name: str, queries: list[dict[str, Any]]) -> None:
        times, totals = [], []
        for query in queries[: self.most]:
            ms, found = self.ask(query)
            times.append(ms)
            totals.append(found["total"])
            if found["total"] > 2 * PER_PAGE:
                far = int(self.draw.integers(PER_PAGE, found["total"] - PER_PAGE))
                for kind, start in (("next page", PER_PAGE), ("far page", far)):
                    self.later[kind].append(
                        self.ask({**query, "start": start, "version": found["version"]})[0]
                    )
        self.line(name, times, f"{min(totals):,} to {max(totals):,} hits")

    def ask(self, query: dict[str, Any]) -> tuple[float, dict[str, Any]]:
        ms, answer = self.get(f"/search?{urlencode(query)}")
        found: dict[str, Any] = answer.json()
        return ms, found

    def get(self, path: str) -> tuple[float, httpx.Response]:
        began = time.perf_counter()
        answer = self.client.get(path)
        answer.raise_for_status()
        return 1000 * (time.perf_counter() - began), answer

    def line(self, name: str, times: list[float], note: str = "") -> None:
        last = sorted(times)[max(0, round(0.95 * len(times)) - 1)]
        self.slowest = max(self.slowest, last)
        print(f"  {name:28} {statistics.median(times):8.1f} {last:8.1f}   {note}", flush=True)


def searches() -> dict[str, list[dict[str, Any]]]:
    """Name -> queries, none of them twice."""
    draw = np.random.default_rng(1)
    rare = [{"q": WORDS[rank]} for rank in draw.choice(np.arange(3000, 40_000), 60, replace=False)]
    common = [{"q": WORDS[rank]} for rank in range(8, 24)]
    both = [
        {"q": WORDS[rank], "license": license}
        for rank in range(8, 16)
        for license in ("CC-BY-2.0", "CC0-1.0")
    ]
    filters = [
        {"license": license, "country": country, "from": year, "to": year + 5}
        for license in LICENSES[:4]
        for country in COUNTRIES[:3]
        for year in (2002, 2007, 2012)
    ]
    return {
        "a rare word": rare,
        "a common word": common,
        "one of the commonest words": [{"q": WORDS[rank]} for rank in range(2, 8)],
        "two common words": [{"q": f"{WORDS[rank]} {WORDS[rank + 1]}"} for rank in range(8, 24)],
        "a licence": [{"license": license} for license in LICENSES],
        "licence, country, years": filters,
        "a common word, a licence": both,
    }


def measure(client: httpx.Client, pictures: int, most: int | None = None) -> float:
    """Print all lines; the slowest 95th percentile."""
    print(f"  {'':28} {'median':>8} {'95 %':>8}   ms")
    measured = Measured(client, most)
    measured.search("all rows", [{"limit": limit} for limit in range(PER_PAGE, PER_PAGE + 10)])
    for name, queries in searches().items():
        measured.search(name, queries)
    for name, times in measured.later.items():
        measured.line(name, times, "of these searches")
    hashes = [{"alike": f"{int(each):016x}"} for each in measured.draw.integers(0, 2**64, 20, np.uint64)]
    measured.search("by a picture's hash", hashes)
    pages = [f"/catalog?q={WORDS[rank]}+{WORDS[60]}" for rank in range(24, 44)]
    measured.line("the page, two words", [measured.get(path)[0] for path in pages[:most]])
    catalog = client.get("/search").json()["catalog"]
    paths = [f"/images/{catalog}/made%3A{number}" for number in range(min(pictures, 200))]
    for name in ("thumbnails, first", "thumbnails, again"):
        measured.line(name, [measured.get(path)[0] for path in paths[:most]])
    return measured.slowest


def index(uri: Path) -> None:
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "commoncanvas", "catalog", "index", "--catalog", str(uri)],
        check=True,
        capture_output=True,
    )
    size = sum(file.stat().st_size for file in (uri / "_indices").rglob("*") if file.is_file())
    print(f"indexed in {time.perf_counter() - began:,.0f} s, {size / 1e6:,.0f} MB", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--pictures", type=int, default=2000)
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with tempfile.TemporaryDirectory() as temporary:
        uri = (given.folder or Path(temporary)) / "searched.lance"
        if not uri.exists():
            make(uri, given.rows, given.pictures)
            print("without indexes")
            with serving(uri) as client:
                measure(client, given.pictures, UNINDEXED)
            index(uri)
        print("with indexes")
        with serving(uri) as client:
            slowest = measure(client, given.pictures)
    print(f"the slowest 95th percentile is {slowest:,.0f} ms; the aim is {LIMIT_MS} ms")


if __name__ == "__main__":
    main()
