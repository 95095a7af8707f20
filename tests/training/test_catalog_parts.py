"""Parts of one catalog, mixed by share: each has its own epochs, and rows in no part are not in the model."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from commoncanvas.catalog import Catalog
from commoncanvas.core.errors import RecipeError, TrainingError
from commoncanvas.encoding.command import encode
from commoncanvas.provenance.record import filter_of
from commoncanvas.table.filters import save_filter
from commoncanvas.training.distributed.ranks import Ranks
from commoncanvas.training.loader import Loader
from commoncanvas.training.tasks.make import make_task
from commoncanvas.training.trainer import train
from tests.training.test_buckets import BUCKETS
from tests.training.tiny import recipe

CPU = torch.device("cpu")
FREE, NAMED = "license = 'CC0-1.0'", "license = 'CC-BY-4.0'"


CONDITIONS = {"free": FREE, "named": NAMED, "red": "label LIKE 'red%'", "none": "label = 'pink'"}


def parts(catalog: Catalog, **shares: float) -> tuple[str, str]:
    """Words of a recipe that mixes parts of `catalog` by share."""
    each = {
        name: {"catalog": catalog.uri, "filter": CONDITIONS[name], "share": share}
        for name, share in shares.items()
    }
    return "--data.catalogs", json.dumps(each)


def test_a_batch_has_rows_of_each_source_by_its_share_and_each_has_its_own_epochs(
    shapes: Catalog, tmp_path: Path
) -> None:
    made = recipe("xs-autoencoder", tmp_path, *parts(shapes, free=0.3, named=0.1))
    task = make_task(made)
    sources = task.rows.sources_of("train")
    assert Counter(sources) == {0: 8, 1: 8}
    loader = Loader(task, made, Ranks(0, 1, CPU))
    seen: list[list[int]] = [[], []]
    for step in range(20):
        positions = loader.samples(step).positions
        assert Counter(sources[positions]) == {0: 6, 1: 2}
        for source in (0, 1):
            seen[source].extend(positions[sources[positions] == source])
    for source, positions in enumerate(seen):
        for epoch in np.array_split(positions, range(8, len(positions), 8)):
            assert len(epoch) < 8 or set(epoch) == set(np.flatnonzero(sources == source))
    again = Loader(task, made, Ranks(0, 1, CPU)).samples(13)
    assert (again.positions == loader.samples(13).positions).all()


def test_a_row_that_two_sources_have_is_of_the_first_and_a_name_stands_for_its_filter(
    shapes: Catalog, tmp_path: Path
) -> None:
    save_filter(shapes, "reds", "label LIKE 'red%'")
    saved = "--data.catalogs.red.filter", "reds"
    made = recipe("xs-autoencoder", tmp_path, *parts(shapes, red=1, free=1), *saved)
    task = make_task(made)
    chosen = task.rows.table.to_pylist()
    labels = {row["image_id"]: row["label"] for row in shapes.table(["image_id", "label"]).to_pylist()}
    for row, source in zip(chosen, task.rows.sources_of("train"), strict=True):
        red = (labels[row["image_id"]] or "").startswith("red")
        assert source == (0 if red else 1)
        assert red or row["license"] == "CC0-1.0"


def test_who_is_in_no_source_is_not_in_the_model(shapes: Catalog, tmp_path: Path) -> None:
    folder = train(recipe("xs-autoencoder", tmp_path, *parts(shapes, free=3, named=1)))
    assert set(pq.read_table(folder / "rows.parquet")["license"].to_pylist()) == {"CC0-1.0", "CC-BY-4.0"}
    record = json.loads((folder / "provenance.json").read_text())
    assert record["licenses"] == {"CC-BY-4.0": 8, "CC0-1.0": 8}
    assert record["result_license"] == "CC-BY-4.0"
    for source in record["catalogs"].values():
        pinned = Catalog.open(shapes.uri, version=source["tag"])
        assert pinned.count(filter_of(source)) == source["rows"]["train"] == 8
    credits_csv = (folder / "credits.csv").read_text()
    assert "CC-BY-4.0" in credits_csv and "CC-BY-SA-4.0" not in credits_csv
    with pytest.raises(TrainingError, match=r"changed: data\.catalogs\.named\.share"):
        train(recipe("xs-autoencoder", tmp_path, *parts(shapes, free=3, named=2)), resume=True)


def test_a_part_without_rows_is_named(shapes: Catalog, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"nothing to train on: .* 0 with label = 'pink'"):
        train(recipe("xs-autoencoder", tmp_path, *parts(shapes, free=1, none=1)))
    same = "--data.catalogs.named.filter", FREE
    with pytest.raises(TrainingError, match="8 are of images that an earlier catalog has"):
        train(recipe("xs-autoencoder", tmp_path, *parts(shapes, free=1, named=1), *same))
    with pytest.raises(RecipeError, match=r"shuffle .* several catalogs .* leave one of them out"):
        recipe(
            "xs-autoencoder",
            tmp_path,
            *parts(shapes, free=1, named=1),
            *("--data.shuffle.block", "2", "--data.shuffle.buffer", "4"),
        )


def test_parts_of_a_catalog_are_encoded_once(shapes: Catalog, tmp_path: Path) -> None:
    train(recipe("xs-autoencoder", tmp_path))
    made = recipe("xs", tmp_path, *parts(shapes, free=1, red=1), "--data.text", "[title]")
    report = encode(made)
    latents = {each.catalog: each.rows for each in report.columns if each.column.startswith("latent")}
    red = shapes.count("label LIKE 'red%' AND license != 'CC0-1.0'")
    assert latents == {"free": 8, "red": red} and red
    table = Catalog.open(shapes.uri).table([report.columns[0].column])
    assert len(table) - table.column(0).null_count == 8 + red
    train(made)


@pytest.mark.slow
def test_sources_are_mixed_in_batches_of_one_aspect_ratio(oblongs: Catalog, tmp_path: Path) -> None:
    odd = {
        name: {"catalog": oblongs.uri, "filter": f"image_id {like} '%1'", "share": share}
        for name, like, share in (("odd", "LIKE", 3), ("others", "NOT LIKE", 1))
    }
    made = recipe("xs", tmp_path, *BUCKETS, "--data.catalogs", json.dumps(odd))
    encode(made)
    task = make_task(made)
    loader = Loader(task, made, Ranks(0, 1, CPU))
    kinds, sources = task.rows.kinds_of("train"), task.rows.sources_of("train")
    drawn = []
    for step in range(400):
        positions = loader.samples(step).positions
        assert len(set(kinds[positions])) == 1
        drawn.extend(positions)
    assert abs(float(np.mean(sources[drawn] == 0)) - 0.75) < 0.02
    for source in (0, 1):
        counts = np.bincount(drawn, minlength=len(sources))[sources == source]
        assert counts.max() <= 1.1 * counts.min() + 3
    train(made)
