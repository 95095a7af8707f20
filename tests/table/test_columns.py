"""What a column that a model made says of itself, and what happens to it when its sources change."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from commoncanvas.catalog import Catalog
from commoncanvas.core.errors import CatalogError
from commoncanvas.table.columns import ColumnInfo, derived, same_column, sources_of
from commoncanvas.table.schema import to_batch

DIGESTS = st.text("0123456789abcdef", min_size=64, max_size=64)
INFOS = st.builds(
    ColumnInfo,
    DIGESTS,
    st.lists(st.tuples(st.text(min_size=1), st.none() | DIGESTS), max_size=3).map(tuple),
    st.lists(st.integers(1, 9), max_size=3).map(tuple),
    st.text(),
    st.none() | st.dictionaries(st.text(), st.integers()),
)


def info(digest: str, *sources: str, model: str = "maker") -> ColumnInfo:
    return ColumnInfo(digest * 64, tuple((name, None) for name in sources), (), model)


@given(INFOS)
def test_a_field_says_who_made_it(made: ColumnInfo) -> None:
    assert ColumnInfo.of(made.field("x")) == made


@given(INFOS, st.text())
def test_another_path_to_the_same_weights_is_the_same_column(made: ColumnInfo, path: str) -> None:
    moved = ColumnInfo(made.sha256, made.sources, made.shape, path)
    assert same_column(made.field("x"), moved.field("x"))
    other = ColumnInfo(made.sha256[::-1] + "0", made.sources, made.shape, made.model)
    assert not same_column(made.field("x"), other.field("x"))


@pytest.mark.parametrize("metadata", [None, {b"commoncanvas": b"{}"}, {b"commoncanvas": b"not json"}])
def test_a_field_that_no_model_made_has_no_maker(metadata: dict[bytes, bytes] | None) -> None:
    assert ColumnInfo.of(pa.field("x", pa.string(), metadata=metadata)) is None


def test_what_hangs_on_a_column_is_found_through_all_columns_between() -> None:
    schema = pa.schema(
        [
            pa.field("image", pa.large_binary()),
            pa.field("label", pa.string()),
            info("a", "image").field("caption", pa.string()),
            info("b", "image").field("latent", pa.string()),
            info("c", "label", "caption").field("states", pa.string()),
        ]
    )
    assert derived(schema, ["image"]) == ["caption", "latent", "states"]
    assert derived(schema, ["caption"]) == ["states"]
    assert derived(schema, ["latent"]) == []
    assert sources_of(schema, ["label", "caption"]) == (("label", None), ("caption", "a" * 64))


class Text:
    """A stage that writes one string column out of another."""

    batch_size = 4

    def __init__(self, column: str, source: str, value: str, again: str = "false") -> None:
        self.name = self.done_column = column
        self.reads = (source,)
        self.writes: Sequence[pa.Field] = (info("a", source).field(column, pa.string()),)
        self.todo = f"{column} IS NULL OR {again}"
        self.value = value

    def setup(self) -> None:
        """Nothing to load."""

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        return pa.RecordBatch.from_arrays([pa.array([self.value] * len(batch))], names=[self.done_column])


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    made = Catalog.create(tmp_path / "catalog.lance")
    made.add([to_batch({"image_id": f"a:{n}", "source": "a", "title": "t"} for n in range(10))])
    made.backfill(Text("first", "title", "1"))
    made.backfill(Text("second", "first", "2"))
    made.backfill(Text("beside", "title", "b"))
    return made


def test_rows_done_once_more_forget_what_was_made_of_them_and_no_other_rows_do(catalog: Catalog) -> None:
    chosen = "image_id IN ('a:2', 'a:7')"
    assert catalog.backfill(Text("first", "title", "new", again=chosen)) == 2
    assert catalog.count("first = 'new'") == catalog.count("second IS NULL") == 2
    assert catalog.count(f"({chosen}) AND second IS NULL") == 2
    assert catalog.count("beside = 'b'") == 10
    assert catalog.backfill(Text("second", "first", "2")) == 2


def test_a_column_goes_with_what_was_made_of_it(catalog: Catalog) -> None:
    assert catalog.drop_columns(["first"]) == ["first", "second"]
    assert {"first", "second", "beside"} & set(catalog.schema.names) == {"beside"}
    with pytest.raises(CatalogError, match=r"title of .* belongs to every catalog"):
        catalog.drop_columns(["title"])
