"""The page that searches credits in the browser without a server: credits.html, and the scripts with its data.

A page that is opened from a disk can't read files, but it can load scripts. So each piece of the data is a script that
hands over one JSON value, and the page loads only the pieces that it needs.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from importlib import resources
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from commoncanvas import licenses
from commoncanvas.core.console import progress
from commoncanvas.core.text import escaped_json
from commoncanvas.pages.credits_index import (
    LONGEST_TEXT,
    Index,
    Numbers,
    Postings,
    by_creator,
    index_of,
    spelled,
)
from commoncanvas.pages.credits_keys import Keys, bucket_count, bucketed, keys_of, sources
from commoncanvas.pages.report import write_page

PAGE = "credits.html"
DATA = "credits"
"""Folder of the data, beside the page."""
TEXTS = ("image_id", "title", "creator", "creator_url", "source_url")
REPEATED = ("license", "license_name", "license_url", "changes")
ROWS, CREATORS, WORDS = 500, 1000, 3000
"""Fewest rows and creators, and most words, of one script."""
FILES = 4000
"""About the most scripts with rows: hubs list folders of at most 10,000 files."""
POSTINGS = 40_000
LICENSES = 200
"""Most licences that can be browsed."""


def write_credits_page(credits: Path, out: Path, name: str, object_at: str | None = None) -> None:
    """Write `out`/credits.html and its data from a Parquet file of credits. `name`: what the credits are of.

    `object_at`: a web or mail address where creators can write to the publisher. Memory grows with the rows, by about
    0.7 GB for a million. Raises CommonCanvasError if the page can't be written.
    """
    rows = _read(credits)
    order, firsts = by_creator(*(rows[each].chunk(0) for each in ("creator", "creator_url", "title")))
    rows = rows.take(order)
    names = rows["creator"].take(firsts)
    folder = out / DATA
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    counts = np.diff([*firsts, len(rows)])
    urls = rows["creator_url"].take(firsts)
    in_one = _write_creators(folder, names, urls, firsts, counts)
    works = keys_of(rows["image_id"].chunk(0), rows["source_url"].chunk(0))
    buckets = _write_keys(folder, works, keys_of(urls.combine_chunks()))
    words = _write_words(folder, index_of(rows["title"].chunk(0), names.combine_chunks()))
    step = max(ROWS, -(-len(rows) // FILES))
    found = _write_rows(folder, rows, step)
    index = {
        "rows": len(rows),
        "creators": len(firsts) - int(len(names) > 0 and names[-1].as_py() is None),
        "step": step,
        "creatorStep": in_one,
        "people": spelled(names.combine_chunks()[::in_one]).to_pylist(),
        "words": words,
        "licenses": found,
        "buckets": buckets,
        "sources": sources(rows["image_id"].chunk(0)),
    }
    _write(folder, "index", index)
    script = resources.files("commoncanvas.pages") / "templates" / "credits.js"
    (folder / "search.js").write_text(script.read_text(encoding="utf-8"), encoding="utf-8")
    write_page(out / PAGE, "credits.html.j2", name=name, data=DATA, object_at=object_at)


def _read(credits: Path) -> pa.Table:
    """The columns that the page shows, one chunk each; long texts are cut."""
    table = pq.read_table(credits, columns=[*TEXTS, *REPEATED], read_dictionary=[*REPEATED])
    cut = {
        name: pc.utf8_slice_codeunits(table[name].cast(pa.large_string()), 0, LONGEST_TEXT)
        if name in ("title", "creator")
        else table[name].cast(pa.large_string())
        for name in TEXTS
    }
    whole = cut | {name: table[name].unify_dictionaries() for name in REPEATED}
    return pa.table({name: _one_chunk(column) for name, column in whole.items()})


def _one_chunk(column: pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks() if len(column) else pa.array([], column.type)


def _write_creators(
    folder: Path, names: pa.ChunkedArray, urls: pa.ChunkedArray, firsts: Numbers, counts: Numbers
) -> int:
    """Scripts of creators in their order: name, address, first row and number of rows. Returns how many are in one."""
    step = max(CREATORS, -(-len(firsts) // FILES))
    for number, start in enumerate(range(0, len(firsts), step)):
        chosen = slice(start, start + step)
        some = names[chosen], urls[chosen]
        values = {
            "names": some[0].to_pylist(),
            "urls": some[1].to_pylist(),
            "firsts": firsts[chosen].tolist(),
            "counts": counts[chosen].tolist(),
        }
        _write(folder, f"creators-{number}", values)
    return step


def _write_words(folder: Path, index: Index) -> list[str]:
    """Scripts of words with what has them. Returns the first word of each script."""
    starts = _starts(index)
    for number, (start, end) in enumerate(pairwise(starts)):
        values = {
            "words": index.words[start:end],
            "titles": _listed(index.titles, start, end),
            "counts": index.titles.counts[start:end].tolist(),
            "creators": _listed(index.creators, start, end),
        }
        _write(folder, f"words-{number}", values)
    return [index.words[start] for start in starts[:-1]]


def _write_keys(folder: Path, works: Keys, creators: Keys) -> int:
    """Scripts of the ids and addresses, by their hashes. Returns how many there are."""
    buckets = bucket_count(len(works.hashes) + len(creators.hashes))
    both = zip(bucketed(works, buckets), bucketed(creators, buckets), strict=True)
    for number, (of_works, of_creators) in enumerate(both):
        values = {"works": _hashed(of_works), "creators": _hashed(of_creators)}
        _write(folder, f"keys-{number}", values)
    return buckets


def _hashed(keys: Keys) -> list[list[int]]:
    """The prints, each as the difference to the one before, and the numbers."""
    return [np.diff(keys.hashes, prepend=0).tolist(), keys.numbers.tolist()]


def _starts(index: Index) -> list[int]:
    """Places at which scripts begin, and the end: none has more than WORDS words or, but for one, POSTINGS postings."""
    sizes = (index.titles.offsets + index.creators.offsets)[1:]
    starts = [0]
    while starts[-1] < len(index.words):
        here = starts[-1]
        before = sizes[here - 1] if here else 0
        full = int(np.searchsorted(sizes, before + POSTINGS, side="right"))
        starts.append(min(max(full, here + 1), here + WORDS, len(index.words)))
    return starts


def _listed(postings: Postings, start: int, end: int) -> list[list[int]]:
    """The postings of some words, each as its first number and the differences to the next."""
    bounds = postings.offsets[start : end + 1]
    numbers = postings.numbers[bounds[0] : bounds[-1]]
    bounds = bounds - bounds[0]
    gaps = np.diff(numbers, prepend=0)
    first = bounds[:-1][np.diff(bounds) > 0]
    gaps[first] = numbers[first]
    flat = gaps.tolist()
    return [flat[a:b] for a, b in pairwise(bounds.tolist())]


def _write_rows(folder: Path, rows: pa.Table, step: int) -> list[dict[str, Any]]:
    """Scripts of rows. Returns each licence with its number of rows and the scripts that have it."""
    totals: Counter[str | None] = Counter()
    places: dict[str | None, list[int]] = {}
    with progress("credits", len(rows), "rows") as bar:
        for number, start in enumerate(range(0, len(rows), step)):
            some = rows.slice(start, step).to_pydict()
            _write(folder, f"rows-{number}", _script(some))
            here = Counter(some["license_name"])
            totals.update(here)
            for each in here:
                places.setdefault(each, []).append(number)
            bar.advance(len(some["image_id"]))
    return [
        {"name": each, "count": count, "scripts": places[each]}
        for each, count in totals.most_common(LICENSES)
    ]


def _script(rows: Mapping[str, list[Any]]) -> dict[str, Any]:
    """The columns of some rows. What many rows have in common is listed once, and `row` has its place in the list."""
    creators, licences, changes = (
        list(zip(*(rows[name] for name in names), strict=True))
        for names in (("creator", "creator_url"), ("license_name", "license_url", "license"), ("changes",))
    )
    return {
        "ids": rows["image_id"],
        "titles": rows["title"],
        "urls": rows["source_url"],
        "creators": list(dict.fromkeys(creators)),
        "licenses": [_license(*each) for each in dict.fromkeys(licences)],
        "changes": list(dict.fromkeys(changes)),
        "row": {"creators": _places(creators), "licenses": _places(licences), "changes": _places(changes)},
    }


def _places(values: Sequence[Hashable]) -> list[int]:
    """For each value, its place among the different ones."""
    known = {value: place for place, value in enumerate(dict.fromkeys(values))}
    return [known[value] for value in values]


def _license(name: str | None, url: str | None, text: str | None) -> Sequence[str | bool | None]:
    """Name, address, and whether the work is in the public domain: it is marked then, not licensed."""
    return name, url, licenses.parse(text).public_domain


def _write(folder: Path, name: str, value: Any) -> None:
    data = escaped_json(json.dumps(value, ensure_ascii=False, separators=(",", ":")))
    (folder / f"{name}.js").write_text(f'credits("{name}",{data})\n', encoding="utf-8")
