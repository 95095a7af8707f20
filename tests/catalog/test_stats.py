"""Statistics of a catalog."""

from __future__ import annotations

import json
import math
import statistics
import tempfile
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import lance
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from commoncanvas import licenses
from commoncanvas.catalog import Catalog, CatalogStats, stats
from commoncanvas.catalog import tally as tallies
from commoncanvas.catalog.stats.result import Creator, Figures, places
from commoncanvas.catalog.stats.survey import ASPECTS
from commoncanvas.catalog.tally import Sample, Tally
from commoncanvas.core.errors import CatalogError
from commoncanvas.table.schema import COUNTRY, SCHEMA, to_batch

LICENSES = ["CC-BY-4.0", "CC-BY-NC-2.0", "CC-BY-ND-2.0", "CC0-1.0", "unknown", None]


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    catalog = Catalog.create(tmp_path / "[b]catalog.lance")
    rows = [
        {
            "image_id": f"s:{number}",
            "source": "s" if number % 3 else "t",
            "license": LICENSES[number % 6],
            "creator": [None, "Ada", "Bea [red]\x1b[31m"][number % 3],
            "label": "x" if number < 10 else None,
            **(
                {
                    "fetch_status": "ok",
                    "width": 10,
                    "height": 20,
                    "original_width": 100,
                    "original_height": number,
                }
                if number % 2
                else {}
            ),
            "image": bytes(1000) if number % 2 else None,
        }
        for number in range(60)
    ]
    catalog.add([to_batch(rows)])
    catalog.add_columns([pa.field("caption", pa.string())])
    return catalog


def test_every_count_is_what_the_rows_say(catalog: Catalog) -> None:
    found = stats(catalog)
    assert found.rows == 60
    assert found.licenses == {**dict.fromkeys(sorted(filter(None, LICENSES)), 10), "not stated": 10}
    assert found.sources == {"s": 40, "t": 20}
    assert found.fetch_statuses == {"ok": 30, "pending": 30}
    assert found.creators == 2
    assert found.top_creators == (Creator("Ada", None, 20), Creator("Bea [red]\x1b[31m", None, 20))
    assert (found.commercial, found.noncommercial) == (20, 30)
    assert (found.mean_width, found.mean_height, found.mean_original_width, found.mean_original_height) == (
        *(10.0, 20.0, 100.0, 30.0),
    )
    assert found.filled == {"label": 10, "caption": 0}
    assert 0 < found.image_bytes < found.total_bytes
    assert json.loads(json.dumps(found.to_dict()))["rows"] == 60


def test_a_filter_counts_only_its_rows(catalog: Catalog) -> None:
    found = stats(catalog.uri, where="license = 'CC-BY-4.0'")
    assert (found.rows, found.licenses, found.filled["label"]) == (10, {"CC-BY-4.0": 10}, 2)
    with pytest.raises(CatalogError, match="is not valid"):
        stats(catalog, where="nosuch")


def test_chosen_rows_are_counted_as_a_filter_of_them_is(catalog: Catalog) -> None:
    ids = catalog.table([], "license = 'CC-BY-4.0'", with_row_id=True)["_rowid"].to_numpy()
    chosen, filtered = stats(catalog, row_ids=ids[::-1]), stats(catalog, where="license = 'CC-BY-4.0'")
    for name in ("rows", "licenses", "sources", "fetch_statuses", "top_creators", "filled", "by_policy"):
        assert getattr(chosen, name) == getattr(filtered, name), name
    assert stats(catalog, row_ids=ids[:0]).rows == 0


def test_an_empty_catalog_has_statistics_too(tmp_path: Path) -> None:
    found = stats(Catalog.create(tmp_path / "empty.lance"))
    assert (found.rows, found.licenses, found.mean_width) == (0, {}, None)
    Console(file=(tmp_path / "out").open("w")).print(found.render())


def test_the_terminal_shows_names_as_they_are_and_obeys_none_of_them(
    catalog: Catalog, tmp_path: Path
) -> None:
    with (tmp_path / "out").open("w") as file:
        Console(file=file, width=120).print(stats(catalog).render())
    text = (tmp_path / "out").read_text()
    assert "Bea [red] [31m" in text
    assert "\x1b" not in text
    assert "[b]catalog.lance" in text
    assert "60 images by 2 creators" in text
    assert ["images", "20", "30", "30"] in [line.split() for line in text.splitlines()]


FIELDS = {
    "license": st.sampled_from(LICENSES),
    "source": st.sampled_from(["s", "t"]),
    "fetch_status": st.sampled_from(["ok", "ok", "timeout", None]),
    "creator": st.sampled_from(["Ada", "Bea", "ADA", "", None]),
    "creator_url": st.sampled_from(
        ["https://a.example/1", "https://a.example/2", "http://A.example/1/", None]
    ),
    "camera": st.sampled_from(["Canon", None]),
    "exif_camera": st.sampled_from(["Nikon", "Leica", None]),
    "country": st.sampled_from(["DE", "FR", "JP", None]),
    "taken_at": st.none() | st.datetimes(datetime(1800, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)),
    "width": st.sampled_from([None, 1, 512, 300]),
    "height": st.sampled_from([None, 1, 512, 200]),
    "original_width": st.none() | st.integers(0, 9000),
    "original_height": st.none() | st.integers(1, 9000),
    "caption": st.sampled_from(["a dog", None]),
    "duplicate_of": st.sampled_from(["s:0", None]),
}


def ordered(values: Iterable[Any]) -> list[tuple[Any, int]]:
    return sorted(Counter(values).items(), key=lambda item: (-item[1], item[0]))


def person(name: str | None, url: str | None) -> tuple[str, str]:
    """Who it is, whichever of the spellings in FIELDS stands there."""
    return (name or "").lower(), (url or "").lower().replace("http:", "https:").rstrip("/")


def first(*values: int | None) -> int | None:
    return next((value for value in values if value is not None), None)


def sides(row: dict[str, Any]) -> tuple[int, int] | None:
    """Long and short side, of the original where it is known."""
    known = [first(row[f"original_{side}"], row[side]) for side in WH]
    return None if None in known or min(known) < 1 else (max(known), min(known))


WH = ("width", "height")


def by_hand(rows: list[dict[str, Any]], name: str, ids: list[str | None]) -> Figures:
    mine = [row for row in rows if row["license"] in ids]
    known = [found for row in mine if (found := sides(row))]
    medians = [statistics.median_low(column) for column in zip(*known, strict=True)] or [None, None]
    values = [licenses.parse(id) for id in ids]
    return Figures(
        name,
        len({row["license"] for row in mine}),
        len(mine),
        sum(row["fetch_status"] == "ok" for row in mine),
        sum(row["caption"] is not None for row in mine),
        *medians,
        *(all(licenses.allows(value, policy) for value in values) for policy in licenses.Policy),
    )


@settings(max_examples=25)
@given(st.lists(st.fixed_dictionaries(FIELDS), min_size=1, max_size=40))
def test_every_figure_is_what_counting_row_by_row_gives(rows: list[dict[str, Any]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        catalog = Catalog.create(Path(folder) / "c.lance")
        more = [pa.field(name, pa.string()) for name in ("exif_camera", "caption", "duplicate_of", "country")]
        catalog.add_columns(more)
        numbered = [{**row, "image_id": f"s:{number}"} for number, row in enumerate(rows)]
        catalog.add([to_batch(numbered[:17], more), to_batch(numbered[17:], more)])
        found = stats(catalog)
    ids = list(dict.fromkeys(row["license"] for row in rows))
    one = {figures.name: figures for figures in found.by_license}
    assert one == {id or "not stated": by_hand(rows, id or "not stated", [id]) for id in ids}
    c, nc = ([id for id in ids if licenses.allows(licenses.parse(id), policy)] for policy in licenses.Policy)
    neither = [id for id in ids if id not in nc]
    for name, mine in (("commercial", c), ("noncommercial", nc), ("neither", neither)):
        expected = by_hand(rows, name, mine)
        assert [*vars(found.by_policy[name]).values()][:-2] == [*vars(expected).values()][:-2]
    people = ordered(
        person(row["creator"], row["creator_url"]) for row in rows if row["creator"] or row["creator_url"]
    )
    assert found.creators == len(people)
    assert [each.images for each in found.top_creators] == [count for _, count in people]
    assert {person(each.name, each.url): each.images for each in found.top_creators} == dict(people)
    spelled = {(row["creator"], row["creator_url"]) for row in rows}
    assert {(each.name, each.url) for each in found.top_creators} <= spelled
    cameras = ordered(each for row in rows if (each := row["camera"] or row["exif_camera"]))
    assert list(found.top_cameras.items()) == cameras
    assert list(found.countries.items()) == ordered(row["country"] for row in rows if row["country"])
    assert found.no_country + sum(found.countries.values()) == len(rows)
    assert "country" not in found.filled
    assert found.years == dict(
        sorted(Counter(row["taken_at"].year for row in rows if row["taken_at"]).items())
    )
    known = [both for row in rows if (both := sides(row))]
    for index, histogram in enumerate((found.long_sides, found.short_sides)):
        for low, high in pairwise([*histogram, 1 << 40]):
            assert histogram[low] == sum(low <= both[index] < high for both in known)
    shapes = Counter(
        min(ASPECTS, key=lambda name: abs(math.log(width / height / ASPECTS[name])))
        for row in rows
        if sides(row)
        for width, height in [[first(row[f"original_{side}"], row[side]) for side in WH]]
    )
    assert found.aspects == {name: shapes[name] for name in ASPECTS}
    assert found.dropped.duplicates == sum(row["duplicate_of"] is not None for row in rows)
    assert json.loads(json.dumps(found.to_dict()))["rows"] == len(rows)


def test_a_table_without_a_caption_or_a_camera_still_has_figures(tmp_path: Path) -> None:
    """One that another version made, or that nothing was done to yet."""
    lean = pa.schema([SCHEMA.field(name) for name in ("image_id", "source", "license")], SCHEMA.metadata)
    rows = pa.table({"image_id": ["s:1", "s:2"], "source": ["s", "s"], "license": ["CC0-1.0", None]}, lean)
    lance.write_dataset(rows, str(tmp_path / "lean.lance"), enable_stable_row_ids=True)
    found = stats(tmp_path / "lean.lance")
    assert (found.rows, found.commercial, found.creators, found.cameras, found.years) == (2, 1, 0, 0, {})
    assert (found.countries, found.no_country) == ({}, 2)
    assert found.fetch_statuses == {"pending": 2} and found.dropped.duplicates is None
    assert found.by_policy["commercial"].captioned == 0


@given(
    st.lists(
        st.lists(st.tuples(st.sampled_from(["a", "b", None]), st.integers(0, 3)), max_size=6), min_size=1
    ),
    st.integers(0, 10),
)
def test_a_tally_counts_the_same_however_often_it_merges(
    batches: list[list[tuple[str | None, int]]], merge_rows: int
) -> None:
    tally = Tally("name", "number")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tallies, "MERGE_ROWS", merge_rows)
        for batch in batches:
            names, numbers = zip(*batch, strict=True) if batch else ((), ())
            tally.add(
                pa.table({"name": pa.array(names, pa.string()), "number": pa.array(numbers, pa.int64())})
            )
    counted = {(row["name"], row["number"]): row["rows"] for row in tally.table().to_pylist()}
    assert counted == Counter(pair for batch in batches for pair in batch)


def test_a_sample_is_drawn_from_all_rows_alike_and_again_by_its_seed() -> None:
    drawn = np.zeros(100)
    for seed in range(400):
        sample, whole = Sample(10, seed), Sample(10, seed)
        for start in range(0, 100, 7):
            sample.add(np.arange(start, min(start + 7, 100), dtype=np.uint64))
        whole.add(np.arange(100, dtype=np.uint64))
        assert sample.row_ids.tolist() == whole.row_ids.tolist()
        assert len(set(sample.row_ids.tolist())) == 10
        drawn[sample.row_ids.astype(int)] += 1
    # Each of 100 rows 40 times, give or take 6; six times that would be out of all reason.
    assert drawn.min() > 4 and drawn.max() < 76
    few = Sample(10)
    few.add(np.arange(3, dtype=np.uint64))
    assert sorted(few.row_ids.tolist()) == [0, 1, 2]


def test_the_most_frequent_creators_are_exact_among_many(tmp_path: Path) -> None:
    catalog = Catalog.create(tmp_path / "c.lance")
    names = [f"c{min(number, 1000 - number)}" for number in range(1000)] + ["c7", "c7", "c3"]
    catalog.add(
        to_batch(
            {"image_id": f"s:{start + at}", "source": "s", "creator": name}
            for at, name in enumerate(names[start : start + 100])
        )
        for start in range(0, len(names), 100)
    )
    found = stats(catalog)
    assert found.creators == 501
    expected = ordered(names)[:20]
    assert [(each.name, each.images) for each in found.top_creators] == expected


COUNTS = st.dictionaries(st.from_regex("[A-Z]{2}", fullmatch=True), st.integers(1, 10**6), max_size=30)


@given(COUNTS, st.integers(0, 10**6), st.integers(3, 25))
def test_no_image_is_lost_between_the_countries_and_their_lines(
    counts: dict[str, int], unknown: int, most: int
) -> None:
    first = dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
    found = SimpleNamespace(countries=first, no_country=unknown)
    lines = places(cast(CatalogStats, found), most)
    if not counts:
        assert lines == {}
        return
    assert sum(lines.values()) == sum(counts.values()) + unknown
    assert len(lines) <= most and lines.get("unknown", 0) == unknown
    codes = [name for name in lines if name in counts]
    assert (
        codes == list(first)[: len(codes)] and {name: lines[name] for name in codes}.items() <= first.items()
    )
    assert len(codes) == len(first) or len(lines) == most


def test_the_terminal_tells_the_countries_and_how_many_images_have_none(tmp_path: Path) -> None:
    catalog = Catalog.create(tmp_path / "c.lance")
    catalog.add_columns([COUNTRY])
    listed = ["DE"] * 5 + ["FR"] * 3 + [None] * 2
    rows = [{"image_id": f"s:{at}", "source": "s", "country": code} for at, code in enumerate(listed)]
    catalog.add([to_batch(rows, [COUNTRY])])
    with (tmp_path / "out").open("w") as file:
        Console(file=file, width=160).print(stats(catalog).render())
    words = (tmp_path / "out").read_text().split()
    at = words.index("country")
    shown = " ".join(words[at:])
    for line in ("DE 5 50.0", "FR 3 30.0", "unknown 2 20.0"):
        assert line in shown
