"""Sources mixed by share: each batch has rows of each, whose epochs are its own; what is left out is nowhere."""

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


def mix(**shares: float) -> tuple[str, str]:
    conditions = {"free": FREE, "named": NAMED, "red": "label LIKE 'red%'", "none": "label = 'pink'"}
    return "--data.mix", json.dumps({conditions[name]: share for name, share in shares.items()})


def test_a_batch_has_rows_of_each_source_by_its_share_and_each_has_its_own_epochs(
    shapes: Catalog, tmp_path: Path
) -> None:
    made = recipe("xs-autoencoder", tmp_path, *mix(free=0.3, named=0.1))
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
    made = recipe("xs-autoencoder", tmp_path, "--data.mix", json.dumps({"reds": 1, FREE: 1}))
    task = make_task(made)
    chosen = task.rows.table.to_pylist()
    labels = {row["image_id"]: row["label"] for row in shapes.table(["image_id", "label"]).to_pylist()}
    for row, source in zip(chosen, task.rows.sources_of("train"), strict=True):
        red = (labels[row["image_id"]] or "").startswith("red")
        assert source == (0 if red else 1)
        assert red or row["license"] == "CC0-1.0"


def test_who_is_in_no_source_is_not_in_the_model(shapes: Catalog, tmp_path: Path) -> None:
    folder = train(recipe("xs-autoencoder", tmp_path, *mix(free=3, named=1)))
    assert set(pq.read_table(folder / "rows.parquet")["license"].to_pylist()) == {"CC0-1.0", "CC-BY-4.0"}
    record = json.loads((folder / "provenance.json").read_text())
    assert record["licenses"] == {"CC-BY-4.0": 8, "CC0-1.0": 8}
    assert record["result_license"] == "CC-BY-4.0"
    assert (
        Catalog.open(shapes.uri, version=record["catalog"]["tag"]).count(filter_of(record["catalog"])) == 16
    )
    credits_csv = (folder / "credits.csv").read_text()
    assert "CC-BY-4.0" in credits_csv and "CC-BY-SA-4.0" not in credits_csv
    with pytest.raises(TrainingError, match=r"changed: data\.mix"):
        train(recipe("xs-autoencoder", tmp_path, *mix(free=3, named=2)), resume=True)


def test_a_source_without_rows_is_named(shapes: Catalog, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"data\.mix: no row to train on meets label = 'pink'"):
        train(recipe("xs-autoencoder", tmp_path, *mix(free=1, none=1)))
    with pytest.raises(RecipeError, match=r"shuffle .* mix .* leave one of them out"):
        recipe(
            "xs-autoencoder",
            tmp_path,
            *mix(free=1),
            *("--data.shuffle.block", "2", "--data.shuffle.buffer", "4"),
        )


@pytest.mark.slow
def test_sources_are_mixed_in_batches_of_one_aspect_ratio(oblongs: Catalog, tmp_path: Path) -> None:
    odd = json.dumps({"image_id LIKE '%1'": 3, "image_id NOT LIKE '%1'": 1})
    made = recipe("xs", tmp_path, *BUCKETS, "--data.mix", odd)
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
