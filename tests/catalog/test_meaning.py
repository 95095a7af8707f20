"""Searches by meaning: what is embedded and when, what is found, and what a takedown leaves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import lance
import pyarrow as pa
import pytest

from commoncanvas.catalog import Catalog, index, search, takedown
from commoncanvas.catalog.searching import meaning as by_meaning
from commoncanvas.catalog.searching.meaning import add_meanings, near_meaning, text_of
from commoncanvas.catalog.searching.query import Query
from commoncanvas.catalog.searching.searcher import Searcher
from commoncanvas.cli import app
from commoncanvas.core.errors import CatalogError, MissingExtraError
from commoncanvas.models import minilm
from commoncanvas.models.minilm import MiniLM
from commoncanvas.table.newest import Newest
from commoncanvas.table.schema import to_batch
from tests.catalog.meanings import Kinds
from tests.catalog.test_search import small

ROWS = (
    {"title": "a grey cat", "license": "CC0-1.0", "creator": "Ann"},
    {"label": "kitten", "license": "CC-BY-4.0", "creator": "Bo"},
    {"tags": ["dog", "old"], "license": "CC0-1.0", "creator": "Ann"},
    {"title": "  ", "license": "CC0-1.0"},
    {"license": "CC0-1.0"},
    {"title": "lorry", "license": "CC-BY-4.0", "creator": "Ann"},
)


def found(catalog: Catalog, text: str, **narrowed: Any) -> list[str]:
    """Ids of the rows, nearest first."""
    ids = (each.image_id for each in search(catalog.uri, text, meaning=Kinds(), **narrowed).credits)
    return [each.removeprefix("s:") for each in ids]


def test_rows_are_found_by_what_they_mean_among_those_that_the_filters_leave(tmp_path: Path) -> None:
    catalog = small(tmp_path, *ROWS)
    assert index(catalog, meaning=Kinds()).meanings == 5
    assert found(catalog, "feline")[:2] == ["1", "0"] and sorted(found(catalog, "feline")) == list("0125")
    assert found(catalog, "hound", license="CC0-1.0") == ["2", "0"]
    assert found(catalog, "feline", creator="Ann")[0] == "0"
    assert found(catalog, "feline", license="O'Hara") == []
    assert found(catalog, " ".join(["feline"] * 20 + list("abcdefghijklmnop")))[0] in "01", (
        "any number of words"
    )
    assert search(catalog.uri, "feline").total == 0, "words alone"
    assert found(catalog, "") == list("012345")


def test_the_number_of_rows_is_bounded_and_said_and_pages_keep_their_positions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(by_meaning, "NEAREST", 7)
    monkeypatch.setattr("commoncanvas.catalog.searching.command.NEAREST", 7)
    catalog = small(tmp_path, *({"title": f"cat number {number}"} for number in range(20)))
    add_meanings(catalog, Kinds())
    searcher = Searcher(Newest(catalog, every_s=0), Kinds())
    query = Query("feline", by_meaning=True)
    first = searcher.page(query, 0, 3)
    assert (first.total, first.order) == (7, "meaning")
    whole = [row.image_id for row in searcher.page(query, 0, 7).rows if row]
    takedown(catalog.uri, id=[whole[4]], reason="asked")
    catalog = Catalog.open(catalog.uri)
    catalog.add([to_batch([{"source": "s", "image_id": "s:new", "title": "feline"}])])
    add_meanings(catalog, Kinds())
    rest = [row and row.image_id for row in searcher.page(query, 3, 10, first.version).rows]
    assert rest == [whole[3], None, *whole[5:]]
    now = [row.image_id for row in searcher.page(query, 0, 7).rows if row]
    assert now[0] == "s:new" and whole[4] not in now and len(now) == 7
    assert "The 7 images nearest in meaning" in str(search(catalog.uri, "feline", meaning=Kinds()))


class Captions:
    """Writes a caption into each row."""

    name, reads, done_column, batch_size, todo = "captions", ("image_id",), "caption", 64, "image_id = 's:2'"
    writes = (pa.field("caption", pa.string()),)

    def setup(self) -> None: ...

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        return pa.RecordBatch.from_arrays([pa.array(["a vehicle"] * len(batch))], names=["caption"])


def test_only_rows_that_are_new_or_got_other_texts_are_embedded_again(tmp_path: Path) -> None:
    catalog = small(tmp_path, *ROWS)
    encoder = Kinds()
    add_meanings(catalog, encoder)
    assert sorted(encoder.texts) == ["a grey cat", "dog, old", "kitten", "lorry"]
    catalog.add([to_batch([{"source": "s", "image_id": "s:9", "title": "puppy"}])])
    catalog.backfill(Captions())
    encoder.texts.clear()
    add_meanings(catalog, encoder)
    assert sorted(encoder.texts) == ["a vehicle, dog, old", "puppy"]
    assert found(catalog, "hound")[0] == "9" and found(catalog, "car")[:2] in (["5", "2"], ["2", "5"])


def test_a_stopped_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(by_meaning.Meanings, "batch_size", 4)
    catalog = small(tmp_path, *({"title": f"cat {number}"} for number in range(11)))

    class Failing(Kinds):
        def embed(self, texts: Any) -> Any:
            if len(self.texts) >= 8:
                raise RuntimeError("no power")
            return super().embed(texts)

    with pytest.raises(RuntimeError, match="no power"):
        add_meanings(catalog, Failing())
    encoder = Kinds()
    add_meanings(Catalog.open(catalog.uri), encoder)
    assert len(encoder.texts) == 3
    assert len(found(catalog, "feline")) == 11


def test_texts_are_joined_each_once_and_cut() -> None:
    row = {
        "title": "a\ncat",
        "label": "a cat",
        "caption": None,
        "tags": ["x", None, " ", "x"],
        "creator": "Ann",
    }
    assert text_of(row) == "a cat, x"
    assert text_of({"title": None, "tags": None}) == "" == text_of({"tags": []})
    assert len(text_of({"title": "w " * 10**6, "tags": ["y" * 5000]})) <= by_meaning.MOST_LETTERS


def test_a_large_catalog_has_an_index_from_which_a_purge_takes_the_rows(tmp_path: Path) -> None:
    kinds = ("cat", "lorry", "hound")
    catalog = small(tmp_path, *({"title": f"{kinds[number % 3]} {number}"} for number in range(600)))
    add_meanings(catalog, Kinds())
    wanted = near_meaning(catalog, Kinds(), "kitten 300", None)
    add_meanings(catalog, Kinds(), indexed_from=1)
    name = "meaning_kinds_nearest"
    assert [each["name"] for each in catalog.dataset.list_indices()] == [name]
    indexed = near_meaning(catalog, Kinds(), "kitten 300", None)
    assert len(indexed) == len(wanted) == 600
    assert len(set(indexed[:150].tolist()) & set(wanted[:150].tolist())) > 130
    few = near_meaning(catalog, Kinds(), "kitten", "image_id IN ('s:4', 's:5', 's:6')")
    assert len(few) == 3, "in whichever list of the index they are"
    # A row whose text is another after the index was made.
    catalog.backfill(Captions(), where="image_id = 's:2'")
    add_meanings(catalog, Kinds(), indexed_from=1)
    ordered = [each.image_id for each in search(catalog, "car", meaning=Kinds(), limit=600).credits]
    assert len(ordered) == 600 and ordered.index("s:2") == 200, "after all lorries, before hounds and cats"
    before = {each["uuid"] for each in catalog.dataset.list_indices()}
    takedown(catalog.uri, id=["s:3", "s:4"], reason="asked", purge=True, exclusive=True)
    dataset = lance.dataset(catalog.uri)
    folders = {path.name for path in (tmp_path / "cc.lance/_indices").iterdir() if any(path.iterdir())}
    assert folders == {each["uuid"] for each in dataset.list_indices()} and not folders & before
    assert dataset.stats.index_stats(name)["num_indexed_rows"] == 598
    assert not {"3", "4"} & set(found(Catalog.open(catalog.uri), "cat", limit=1000))


def test_what_is_missing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    catalog = small(tmp_path, *ROWS)
    with pytest.raises(CatalogError, match=r"first run: commoncanvas catalog index .* --meaning"):
        found(catalog, "feline")
    add_meanings(catalog, Kinds("cd" * 32))
    with pytest.raises(CatalogError, match="made by other weights"):
        found(catalog, "feline")
    with pytest.raises(CatalogError, match="search by words"):
        Searcher(Newest(catalog)).page(Query("feline", by_meaning=True), 0, 1)
    monkeypatch.setattr(minilm, "PACKAGES", ("no_such_package",))
    with pytest.raises(MissingExtraError, match=r"pip install 'commoncanvas\[xs\]'"):
        app(["catalog", "index", "--meaning", "--catalog", catalog.uri], result_action="return_value")


@pytest.mark.slow
def test_the_commands_find_a_cat_for_who_asks_for_a_feline(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ["dog face", "red heart", "cat face", "fire engine", "pile of poo", "crying face", "catalogue"]
    catalog = small(tmp_path, *({"label": name} for name in names))
    uri = ["--catalog", catalog.uri]
    app(["catalog", "index", "--meaning", *uri], result_action="return_value")
    assert "7 rows embedded" in capsys.readouterr().out
    for text, first in (("feline", "cat face"), ("truck that puts out flames", "fire engine")):
        app(["catalog", "search", *text.split(), "--meaning", "--json", *uri], result_action="return_value")
        said = json.loads(capsys.readouterr().out)
        assert (said["total"], said["order"]) == (7, "meaning")
        assert said["credits"][0]["image_id"] == f"s:{names.index(first)}"
    field = Catalog.open(catalog.uri).schema.field("meaning_minilm")
    assert str(field.type) == "fixed_size_list<item: halffloat>[384]"
    assert MiniLM().sha256() in str(field.metadata)
