"""Searching: what is found, in which order, page by page, while the catalog changes; and its indexes."""

from __future__ import annotations

import io
import json
import random
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import lance
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lance.file import LanceFileReader
from lance.query import MatchQuery
from PIL import Image

from commoncanvas.catalog import Catalog, index, search, takedown
from commoncanvas.catalog.searching.query import MOST_WORDS, STOP_WORDS, Query, split
from commoncanvas.catalog.searching.searcher import Searcher
from commoncanvas.catalog.searching.values import count_values
from commoncanvas.cli import app
from commoncanvas.core.errors import CatalogError
from commoncanvas.images.image import encode_image
from commoncanvas.table import search_index
from commoncanvas.table.newest import Newest
from commoncanvas.table.schema import COUNTRY, to_batch
from commoncanvas.table.search_index import uncovered_rows
from tests.conftest import add_shapes, drawing

WORDS = ["kolt", "Brun", "zatt", "MURK", "plov", "dunt", "grak", "fenk"]
LICENSES = ["CC-BY-4.0", "CC0-1.0", "CC-BY-SA-4.0", None]
COUNTRIES = ["FR", "JP", None]
ROWS = 240


def made_up_rows() -> list[dict[str, Any]]:
    draw = random.Random(3)

    def text(most: int) -> str | None:
        return " ".join(draw.choices(WORDS, k=draw.randrange(most))) or None

    return [
        {
            "image_id": f"m:{number:03}",
            "source": "m",
            "title": text(4),
            "description": text(9),
            "tags": draw.choices(WORDS, k=draw.randrange(3)) or None,
            "creator": draw.choice(["Ann Kolt", "O'Hara", None]),
            "license": draw.choice(LICENSES),
            "country": draw.choice(COUNTRIES),
            "taken_at": draw.choice([None, datetime(draw.randrange(2001, 2006), 12, 31, 23, tzinfo=UTC)]),
        }
        for number in range(ROWS)
    ]


@pytest.fixture(scope="module")
def catalogs(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, Searcher]:
    """Whether it has indexes -> searches of the same rows. The last rows came after the indexes."""
    found = {}
    for indexed in (True, False):
        catalog = Catalog.create(tmp_path_factory.mktemp("made") / "cc.lance")
        catalog.add_columns([COUNTRY])
        rows = made_up_rows()
        catalog.add([to_batch(rows[:-40], [COUNTRY])])
        if indexed:
            index(catalog)
        catalog.add([to_batch(rows[-40:], [COUNTRY])])
        found[indexed] = Searcher(Newest(catalog))
    return found


def meets(row: dict[str, Any], query: Query) -> bool:
    texts = [row["title"], row["description"], row["creator"], *(row["tags"] or ())]
    there = set(split(" ".join(text for text in texts if text).lower()))
    year = row["taken_at"] and row["taken_at"].year
    return (
        {word.lower() for word in query.words} <= there
        and query.license in ("", row["license"])
        and query.creator in ("", row["creator"])
        and query.country in ("", row["country"])
        and (query.from_year is None or (year is not None and year >= query.from_year))
        and (query.to_year is None or (year is not None and year <= query.to_year))
    )


def all_pages(searcher: Searcher, query: Query, limit: int = 50) -> list[str]:
    """Ids, page by page."""
    ids: list[str] = []
    version = None
    while True:
        page = searcher.page(query, len(ids), limit, version)
        version = page.version
        ids += [row.image_id for row in page.rows if row is not None]
        if len(ids) >= page.total:
            return ids


queries = st.builds(
    Query,
    st.lists(st.sampled_from([*WORDS, "ann", "kolt", "the", "o'hara"]), max_size=3).map(" ".join),
    st.sampled_from(["", "CC-BY-4.0", "CC0-1.0", "nothing"]),
    st.sampled_from(["", "", "Ann Kolt", "O'Hara", "ann kolt"]),
    st.sampled_from(["", "", "FR", "XX"]),
    st.sampled_from([None, 2001, 2003]),
    st.sampled_from([None, 2003, 2005]),
)


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(queries, st.integers(1, 70))
def test_a_search_finds_what_a_look_at_every_row_finds_each_once(
    catalogs: dict[bool, Searcher], query: Query, limit: int
) -> None:
    expected = [row["image_id"] for row in made_up_rows() if meets(row, query)]
    for indexed, searcher in catalogs.items():
        found = all_pages(searcher, query, limit)
        assert sorted(found) == expected
        if not (indexed and query.words):
            assert found == expected  # the catalog's order


@given(st.text())
def test_any_text_becomes_words_without_signs(text: str) -> None:
    for word in split(text):
        assert any(letter.isalnum() for letter in word)
        assert not set(word) & set(" \t\n\"'()[]{}*?+-^~:\\/&|!$%#@`.,;<>=_")
    try:
        query = Query.parse({"q": text})
    except CatalogError as error:
        assert "at most" in str(error)
    else:
        assert Query.parse(query.form()) == query
        assert len(query.words) <= MOST_WORDS


@given(st.dictionaries(st.sampled_from(["from", "to", "alike", "license", "creator"]), st.text(max_size=6)))
def test_any_form_is_a_query_or_one_sentence(form: dict[str, str]) -> None:
    try:
        query = Query.parse(form)
    except CatalogError as error:
        assert str(error) and "\n" not in str(error)
    else:
        assert Query.parse(query.form()) == query


HOSTILE = [
    "' OR 1=1 --", "x'); DROP TABLE t; --", '"unclosed', "a AND OR NOT ()", "*", "~2 fuzzy~", "title:kolt", "kolt^5",
    "\x00\u202e", "\ud800", "%_%", "\\", "(?i)(a+)+$", "[kolt]", "$1 :name ?", "kolt\n\nbrun", "k" * 400, "東京タワー",
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_text_is_words_and_nothing_else(catalogs: dict[bool, Searcher], text: str) -> None:
    for searcher in catalogs.values():
        for form in ({"q": text}, {"license": text}, {"creator": text}, {"country": text}):
            try:
                page = searcher.page(Query.parse(form), 0, 10)
            except CatalogError as error:
                assert "\n" not in str(error)
                continue
            # What is cleaned away asks for nothing.
            assert page.total < ROWS or not Query.parse(form).form()
        assert searcher.row(text, ("title",)) is None


def small(tmp_path: Path, *rows: dict[str, Any]) -> Catalog:
    catalog = Catalog.create(tmp_path / "cc.lance")
    catalog.add(
        [to_batch({"source": "s", "image_id": f"s:{place}", **row} for place, row in enumerate(rows))]
    )
    return catalog


def ids(catalog: Catalog, text: str) -> list[str]:
    return [each.image_id for each in search(catalog, text).credits]


def test_words_are_found_with_other_endings_without_accents_in_capitals_and_in_scripts_without_spaces(
    tmp_path: Path,
) -> None:
    catalog = small(
        tmp_path, {"title": "Three trees"}, {"tags": ["Café", "e-mail"]}, {"title": "東京タワーの夜"}
    )
    index(catalog)
    assert ids(catalog, "TREE") == ["s:0"]
    assert ids(catalog, "cafe") == ids(catalog, "CAFÉ") == ids(catalog, "mail") == ["s:1"]
    assert ids(catalog, "東京") == ["s:2"]


def test_stop_words_are_left_out_unless_there_is_nothing_else(tmp_path: Path) -> None:
    catalog = small(tmp_path, {"title": "red heart"}, {"title": "The Who"})
    index(catalog)
    assert "the" in STOP_WORDS
    assert ids(catalog, "the red heart") == ["s:0"]
    assert ids(catalog, "the") == ["s:1"]
    assert ids(catalog, "?!") == []


def test_the_most_relevant_row_is_first(tmp_path: Path) -> None:
    filler = " ".join(f"word{number}" for number in range(40))
    catalog = small(
        tmp_path, {"description": f"{filler} heron"}, {"title": "heron", "tags": ["heron"]}, {"title": "x"}
    )
    before = search(catalog, "heron")
    assert (before.order, [each.image_id for each in before.credits]) == ("catalog", ["s:0", "s:1"])
    index(catalog)
    after = search(catalog, "heron")
    assert (after.order, [each.image_id for each in after.credits]) == ("relevance", ["s:1", "s:0"])


@pytest.mark.slow
def test_rows_that_came_later_are_found_before_and_after_the_next_index(tmp_path: Path) -> None:
    catalog = small(tmp_path, {"title": "heron"})
    assert {made.rows for made in index(catalog).made} == {1}
    catalog.add([to_batch([{"source": "s", "image_id": "s:9", "title": "Herons"}])])
    assert sorted(ids(catalog, "heron")) == ["s:0", "s:9"]
    assert set(uncovered_rows(catalog).values()) == {1}
    again = index(catalog)
    assert {made.rows for made in again.made} == {1}
    assert sorted(ids(catalog, "heron")) == ["s:0", "s:9"]
    assert index(catalog).made == ()


def test_a_killed_index_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    catalog = small(tmp_path, {"title": "heron"})
    create, made = search_index._create, []

    def dying(dataset: Any, each: search_index.Index) -> None:
        if len(made) == 3:
            raise KeyboardInterrupt
        made.append(each)
        create(dataset, each)

    monkeypatch.setattr(search_index, "_create", dying)
    with pytest.raises(KeyboardInterrupt):
        index(catalog)
    monkeypatch.undo()
    report = index(Catalog.open(catalog.uri))
    assert {each.index for each in report.made}.isdisjoint(made)
    assert not any(uncovered_rows(Catalog.open(catalog.uri)).values())


class Captioned:
    """A stage that writes one caption into all rows that have another."""

    name = "captions"
    reads: tuple[str, ...] = ("image_id",)
    writes: tuple[pa.Field, ...] = (pa.field("caption", pa.string()),)
    done_column = "caption"
    batch_size = 10

    def __init__(self, text: str) -> None:
        self.text = text
        self.todo = f"caption IS NULL OR caption != '{text}'"

    def setup(self) -> None:
        pass

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        return pa.RecordBatch.from_arrays([pa.array([self.text] * len(batch))], names=["caption"])


def test_captions_that_a_stage_writes_again_are_found_and_the_old_ones_are_not(tmp_path: Path) -> None:
    catalog = small(tmp_path, {"title": "a", "license": "CC0-1.0"}, {"title": "b", "license": "CC-BY-4.0"})
    catalog.backfill(Captioned("heron"))
    index(catalog)
    # The stage chooses rows by columns that have an index.
    assert catalog.backfill(Captioned("stork"), where="license = 'CC0-1.0'") == 1
    assert ids(catalog, "heron") == ["s:1"]
    assert ids(catalog, "stork") == ["s:0"]
    index(catalog)
    assert ids(catalog, "heron") == ["s:1"]
    assert ids(catalog, "stork") == ["s:0"]


@pytest.mark.slow
@pytest.mark.parametrize("purge", [False, True])
def test_rows_taken_down_between_two_pages_leave_gaps_and_move_nothing(tmp_path: Path, purge: bool) -> None:
    catalog = small(tmp_path, *({"title": "heron"} for _ in range(30)))
    index(catalog)
    searcher = Searcher(Newest(catalog, every_s=0))
    first = searcher.page(Query("heron"), 0, 10)
    takedown(catalog.uri, id=["s:3", "s:14", "s:29"], reason="asked", purge=purge, exclusive=purge)
    rest = searcher.page(Query("heron"), 10, 100, first.version)
    shown = [row and row.image_id for row in (*first.rows, *rest.rows)]
    assert shown == [None if number in (14, 29) else f"s:{number}" for number in range(30)]
    assert searcher.row("s:14", ("title",)) is None
    assert searcher.page(Query("heron"), 0, 100).total == 27


def test_a_search_goes_on_when_a_purge_deleted_the_version_that_it_began_in(tmp_path: Path) -> None:
    catalog = small(tmp_path, *({"title": "heron"} for _ in range(30)))
    searcher = Searcher(Newest(catalog, every_s=0))
    first = searcher.page(Query("heron"), 0, 10)
    searcher._hits.drop((first.version, Query("heron")))
    takedown(catalog.uri, id=["s:29"], reason="asked", purge=True, exclusive=True)
    rest = searcher.page(Query("heron"), 10, 100, first.version)
    assert [row and row.image_id for row in rest.rows] == [f"s:{number}" for number in range(10, 29)]


def test_a_purge_leaves_no_word_and_no_name_in_the_indexes(tmp_path: Path) -> None:
    gone = {"title": "secretword", "tags": ["quietword"], "creator": "Hidden Person"}
    catalog = small(tmp_path, {"title": "heron", "creator": "Ann"}, gone, {"title": "stork"})
    index(catalog)
    takedown(catalog.uri, id=["s:1"], reason="asked", purge=True, exclusive=True)
    dataset = lance.dataset(catalog.uri)
    for word, column in (("secretword", "title"), ("quietword", "tags"), ("hidden", "creator")):
        found = dataset.scanner(
            columns=["_rowid", "_score"], full_text_query=MatchQuery(word, column)
        ).to_table()
        assert len(found) == 0
    assert (
        len(dataset.scanner(columns=["_score"], full_text_query=MatchQuery("stork", "title")).to_table()) == 1
    )
    left = {Path(file).parent.name for file in (tmp_path / "cc.lance/_indices").rglob("*.lance")}
    assert left == {each["uuid"] for each in dataset.list_indices()}
    values = ""
    for file in (tmp_path / "cc.lance/_indices").rglob("page_data.lance"):
        values += json.dumps(LanceFileReader(str(file)).read_all().to_table().to_pydict(), default=str)
    assert "Ann" in values and "s:0" in values
    assert "Hidden" not in values and "s:1" not in values


def test_the_last_rows_can_be_purged_and_others_come(tmp_path: Path) -> None:
    catalog = small(tmp_path, {"title": "heron"})
    index(catalog)
    takedown(catalog.uri, id=["s:0"], reason="asked", purge=True, exclusive=True)
    assert search(catalog.uri, "heron").total == 0
    index(catalog.uri)
    after = Catalog.open(catalog.uri)
    after.add([to_batch([{"source": "s", "image_id": "s:9", "title": "heron"}])])
    index(after)
    assert ids(after, "heron") == ["s:9"]


def test_the_rows_that_look_like_a_picture_are_found_the_nearest_first(tmp_path: Path) -> None:
    catalog = add_shapes(tmp_path / "shapes.lance")
    hashes = Catalog.create(tmp_path / "cc.lance")
    rows = catalog.table(["image_id", "title", "image"]).to_pylist()
    from commoncanvas.images.image import decode, phash

    hashes.add([to_batch({**row, "source": "s", "phash": phash(decode(row["image"]))} for row in rows)])
    file = tmp_path / "copy.jpg"
    larger = Image.fromarray(drawing("blue", "bar")).resize((80, 80))
    data = io.BytesIO()
    larger.save(data, "JPEG", quality=80)
    file.write_bytes(data.getvalue())
    found = search(hashes, image=file)
    assert found.order == "likeness"
    assert found.credits[0].title is not None and found.credits[0].title.endswith("bar")
    assert found.total < len(rows)
    assert search(hashes, "blue", image=file).total == 1
    file.write_bytes(encode_image(np.zeros((8, 8, 3), np.uint8), "png")[:40])
    with pytest.raises(CatalogError, match=r"copy.jpg can't be searched for"):
        search(hashes, image=file)


def test_the_values_to_filter_by_are_counted(catalogs: dict[bool, Searcher]) -> None:
    rows = made_up_rows()
    values = catalogs[True].values()
    assert values.rows == ROWS
    for name, counted in (
        ("license", values.licenses),
        ("country", values.countries),
        ("creator", values.creators),
    ):
        every = [row[name] for row in rows if row[name] is not None]
        assert counted == {value: every.count(value) for value in every}
    years = [row["taken_at"].year for row in rows if row["taken_at"]]
    assert values.years == {year: years.count(year) for year in sorted(set(years))}
    assert list(values.years) == sorted(values.years)


def test_a_catalog_without_countries_has_none_to_filter_by(tmp_path: Path) -> None:
    catalog = small(tmp_path, {"title": "heron"})
    assert count_values(catalog).countries == {}
    assert search(catalog, country="FR").total == 0


def test_the_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    catalog = small(
        tmp_path, {"title": "Grey heron", "creator": "Ann", "license": "CC-BY-4.0"}, {"title": "heron"}
    )
    app(["catalog", "index", "--catalog", catalog.uri], exit_on_error=False, result_action="return_value")
    printed = capsys.readouterr()
    assert "9 indexes made" in printed.out and "title, words: 2 rows in" in printed.err
    words = [
        "catalog",
        "search",
        "herons",
        "grey",
        "--license",
        "CC-BY-4.0",
        "--catalog",
        catalog.uri,
        "--json",
    ]
    app(words, exit_on_error=False, result_action="return_value")
    found = json.loads(capsys.readouterr().out)
    assert (found["total"], found["credits"][0]["image_id"]) == (1, "s:0")
