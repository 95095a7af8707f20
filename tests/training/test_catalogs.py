"""Several catalogs mixed by share: each pinned and read where it is, an image of two trained on once."""

from __future__ import annotations

import csv
import json
from collections import Counter
from datetime import timedelta
from itertools import compress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from commoncanvas.catalog import Catalog
from commoncanvas.catalog.takedown.command import takedown
from commoncanvas.core.errors import CatalogError, ModelError, RecipeError, TrainingError
from commoncanvas.encoding.command import agreed, encode
from commoncanvas.evaluation import evaluate
from commoncanvas.images.image import decode, encode_image, square
from commoncanvas.provenance.record import filter_of
from commoncanvas.provenance.record_file import read_provenance
from commoncanvas.selection.heldout import fraction_mask, heldout_mask
from commoncanvas.table.filters import save_filter
from commoncanvas.table.schema import to_batch
from commoncanvas.training.distributed.ranks import Ranks
from commoncanvas.training.loader import Loader
from commoncanvas.training.log import read_log
from commoncanvas.training.tasks.make import make_task
from commoncanvas.training.trainer import train
from tests.training.museum import SHARED, both, museum, scan
from tests.training.test_alignment import ALIGNED
from tests.training.test_buckets import BUCKETS
from tests.training.test_ranks import FP32, finish, losses, start
from tests.training.test_trainer import same_bits
from tests.training.tiny import SIDES, recipe, stopping_at

__all__ = ["museum"]

CPU = torch.device("cpu")


def credited(folder: Path) -> list[dict[str, str]]:
    with (folder / "credits.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def images_of(folder: Path, name: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = (
        Catalog.open(folder / f"{name}.lance").table(["image_id", "image"]).to_pylist()
    )
    return rows


def rows_of(folder: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(folder / "rows.parquet").to_pylist()
    return rows


def test_a_batch_has_the_shares_and_each_catalog_has_its_own_epochs(
    shapes: Catalog, museum: Catalog, tmp_path: Path
) -> None:
    made = recipe("xs-autoencoder", tmp_path, *both(tmp_path))
    task = make_task(made)
    sources = task.rows.sources_of("train")
    assert Counter(sources) == {0: 24, 1: 8}
    loader = Loader(task, made, Ranks(0, 1, CPU))
    seen: list[list[int]] = [[], []]
    for step in range(24):
        positions = loader.samples(step).positions
        assert Counter(sources[positions]) == {0: 6, 1: 2}
        for source in (0, 1):
            seen[source].extend(positions[sources[positions] == source])
    for source, positions in enumerate(seen):
        own = np.flatnonzero(sources == source)
        for epoch in np.array_split(positions, range(len(own), len(positions), len(own))):
            assert len(epoch) < len(own) or set(epoch) == set(own)
    again = Loader(make_task(made), made, Ranks(0, 1, CPU))
    assert (again.samples(13).positions == loader.samples(13).positions).all()


def test_a_row_is_read_from_its_own_catalog_whatever_the_order(
    shapes: Catalog, museum: Catalog, tmp_path: Path
) -> None:
    rows = make_task(recipe("xs-autoencoder", tmp_path, *both(tmp_path))).rows
    stored = {
        row["image_id"]: row["image"] for uri in ("museum", "catalog") for row in images_of(tmp_path, uri)
    }
    train_ids = rows.table["image_id"].to_pylist()
    assert sorted(train_ids) == sorted(stored)
    assert len(set(rows.ids("train"))) < len(train_ids)  # ids that both catalogs have
    positions = np.random.default_rng(0).integers(0, len(train_ids), 100)
    read = rows.read("train", positions, ["image_id", "image"]).to_pylist()
    assert [row["image_id"] for row in read] == [train_ids[at] for at in positions]
    assert all(row["image"] == stored[row["image_id"]] for row in read)
    assert len(rows.read("train", np.arange(0), ["image"])) == 0


def test_the_first_rows_are_of_each_catalog_so_that_a_validation_is(
    shapes: Catalog, museum: Catalog, tmp_path: Path
) -> None:
    rows = make_task(recipe("xs-autoencoder", tmp_path, *both(tmp_path))).rows
    for stop in (8, 16, 32):
        assert Counter(rows.table["catalog"].to_pylist()[:stop]) == {"cc": stop * 3 // 4, "museum": stop // 4}


def test_an_image_of_two_catalogs_is_trained_on_once_and_is_the_first_ones(
    shapes: Catalog, museum: Catalog, tmp_path: Path
) -> None:
    folder = train(recipe("xs-autoencoder", tmp_path, *both(tmp_path)))
    rows = {row["image_id"]: row for row in rows_of(folder)}
    assert len(rows) == len(rows_of(folder)) == 32
    assert {rows[image_id]["catalog"] for image_id in SHARED} == {"cc"}
    people = {row["image_id"]: row["creator"] for row in credited(folder)}
    assert len(people) == len(credited(folder)) == 32
    assert all(people[image_id].startswith("painter") for image_id in SHARED)
    assert Counter(people.values())["a curator"] == 8

    swapped = {"cc": {"catalog": museum.uri}, "museum": {"catalog": shapes.uri}}
    other = train(
        recipe("xs-autoencoder", tmp_path, *both(tmp_path, **swapped), "--out", str(tmp_path / "other"))
    )
    people = {row["image_id"]: row["creator"] for row in credited(other)}
    assert [people[image_id] for image_id in SHARED] == ["a curator"] * 2 and len(people) == 32


def test_the_record_names_each_catalog_and_all_licences_count(
    shapes: Catalog, museum: Catalog, tmp_path: Path
) -> None:
    save_filter(shapes, "free", "license != 'CC-BY-SA-4.0'")
    save_filter(museum, "golden", "title LIKE 'gold%' OR title LIKE 'gray%'")
    words = both(tmp_path, {"version": "free"}, {"filter": "golden"})
    folder = train(recipe("xs-autoencoder", tmp_path, *words))
    record = read_provenance(folder)
    cc, other = record["catalogs"]["cc"], record["catalogs"]["museum"]
    assert (cc["share"], other["share"]) == (3, 1)
    assert cc["rows"] == {"train": 16, "heldout": 0, "unused": 0, "elsewhere": 0}
    # Of the two that the shapes have too one is CC-BY-SA-4.0 there, which their filter leaves out.
    shared = {row["image_id"]: row["catalog"] for row in rows_of(folder) if row["image_id"] in SHARED}
    assert sorted(shared.values()) == ["cc", "museum"]
    assert other["rows"] == {"train": 5, "heldout": 0, "unused": 0, "elsewhere": 1}
    for source, uri in ((cc, shapes.uri), (other, museum.uri)):
        assert source["uri"] == uri
        pinned = Catalog.open(uri, version=source["tag"])
        assert pinned.version == source["version"]
        assert pinned.count(filter_of(source)) == sum(source["rows"].values())
    assert record["licenses"] == {"CC-BY-4.0": 8, "CC0-1.0": 8, "CC-BY-2.0": 5}
    assert record["creators"] == 3
    assert record["rows"]["train"] == 21


def test_held_out_and_left_out_are_a_matter_of_ids_over_all_catalogs(
    shapes: Catalog, museum: Catalog, tmp_path: Path
) -> None:
    words = (
        *both(tmp_path),
        "--data.heldout_fraction",
        "0.3",
        "--data.fraction",
        "0.5",
        "--train.validate_every",
        "3",
    )
    folder = train(recipe("xs-autoencoder", tmp_path, *words))
    ids = sorted({row["image_id"] for row in rows_of(folder)})
    assert len(ids) == 32
    held = heldout_mask(ids, 0.3)
    rest = list(compress(ids, ~held))
    wanted = set(compress(rest, fraction_mask(rest, 0.5)))
    split = {row["image_id"]: row["split"] for row in rows_of(folder)}
    assert {image_id for image_id in ids if split[image_id] == "train"} == wanted
    assert {image_id for image_id in ids if split[image_id] == "heldout"} == set(compress(ids, held))
    assert {row["image_id"] for row in credited(folder)} == wanted
    log = read_log(tmp_path / "xs-autoencoder-run" / "log.jsonl")
    assert len([entry for entry in log if "validation_loss" in entry]) == 2


def test_a_resumed_run_sees_each_catalog_as_it_was_and_ends_in_the_same_bits(
    shapes: Catalog, museum: Catalog, tmp_path: Path
) -> None:
    folder = train(recipe("xs-autoencoder", tmp_path, *both(tmp_path)))
    parted = recipe("xs-autoencoder", tmp_path, *both(tmp_path), "--out", str(tmp_path / "parted"))
    with stopping_at(2):
        train(parted)
    for catalog in (Catalog.open(shapes.uri), Catalog.open(museum.uri)):
        catalog.add([to_batch([scan(f"late:{number}", "pink", "dot") for number in range(5)])])
        catalog.dataset.delete("image_id = 'shapes:05' OR image_id = 'museum:0dot'")
        catalog.refresh()
        catalog.cleanup(timedelta(0))
    assert same_bits(folder, train(parted, resume=True))
    assert read_provenance(folder)["rows"] == read_provenance(tmp_path / "parted")["rows"]


def test_catalogs_may_move_between_a_run_and_its_resumption_and_shares_may_not_change(
    shapes: Catalog, museum: Catalog, tmp_path: Path
) -> None:
    folder = train(recipe("xs-autoencoder", tmp_path, *both(tmp_path)))
    (tmp_path / "museum.lance").rename(tmp_path / "moved.lance")
    moved = {"catalog": str(tmp_path / "moved.lance")}
    assert train(recipe("xs-autoencoder", tmp_path, *both(tmp_path, museum=moved)), resume=True) == folder
    with pytest.raises(TrainingError, match=r"changed: data\.catalogs\.museum\.share, rows\)"):
        train(recipe("xs-autoencoder", tmp_path, *both(tmp_path, museum=moved | {"share": 2})), resume=True)


def test_processes_share_out_a_batch_of_several_catalogs(
    shapes: Catalog, museum: Catalog, tmp_path: Path
) -> None:
    made = recipe("xs-autoencoder", tmp_path, *both(tmp_path))
    task = make_task(made)
    (whole,), *parts = (
        [[batch["images"] for _, batch in Loader(task, made, Ranks(rank, world, CPU)).batches(3, 9)]
         for rank in range(world)]
        for world in (1, 2, 4)
    )  # fmt: skip
    for ranks in parts:
        for step, images in enumerate(whole):
            assert torch.equal(torch.cat([rank[step] for rank in ranks]), images)


def test_a_catalog_of_which_nothing_is_left_is_named_with_the_reason(
    shapes: Catalog, museum: Catalog, tmp_path: Path
) -> None:
    shared = {"filter": "image_id LIKE 'shapes:%'"}
    with pytest.raises(
        TrainingError, match=r"museum\.lance .* of 2 rows .* 2 are of images that an earlier catalog has"
    ):
        train(recipe("xs-autoencoder", tmp_path, *both(tmp_path, museum=shared)))
    with pytest.raises(TrainingError, match=r"museum\.lance .* 0 with title = 'mauve'"):
        train(recipe("xs-autoencoder", tmp_path, *both(tmp_path, museum={"filter": "title = 'mauve'"})))
    with pytest.raises(CatalogError, match=r"museum\.lance has no tag v9"):
        train(recipe("xs-autoencoder", tmp_path, *both(tmp_path, museum={"version": "v9"})))


def test_a_takedown_in_the_second_catalog_names_the_model(
    shapes: Catalog, museum: Catalog, tmp_path: Path
) -> None:
    train(recipe("xs-autoencoder", tmp_path, *both(tmp_path)))
    found = takedown(Catalog.open(museum.uri), creator="a curator", reason="asked", dry_run=True)
    assert list(found.tags.values()) == [10]
    assert any("model xs-autoencoder was trained on that version" in line for line in found._lines())
    people = takedown(Catalog.open(shapes.uri), creator="painter 0", reason="asked", dry_run=True)
    assert any("model xs-autoencoder was trained on that version" in line for line in people._lines())


TITLES = ("--data.text", "[title]", "--data.heldout_fraction", "0.3")


@pytest.fixture
def encoded(shapes: Catalog, museum: Catalog, tmp_path: Path) -> tuple[str, ...]:
    """The words of a recipe whose columns both catalogs have."""
    train(recipe("xs-autoencoder", tmp_path, *both(tmp_path)))
    words = (*both(tmp_path), *TITLES)
    report = encode(recipe("xs", tmp_path, *words))
    assert {(column.catalog, column.rows) for column in report.columns} == {("cc", 24), ("museum", 10)}
    return words


@pytest.mark.slow
def test_what_was_encoded_over_both_trains_is_judged_and_credits_everybody(
    encoded: tuple[str, ...], tmp_path: Path
) -> None:
    made = recipe("xs", tmp_path, *encoded)
    (
        tmp_path / "xs-autoencoder" / "credits.csv"
    ).unlink()  # so that its people are looked up in both catalogs
    folder = train(made)
    trained = {row["image_id"] for row in rows_of(folder) if row["split"] == "train"}
    everybody = {row["image_id"] for row in rows_of(folder)}  # the autoencoder held nothing out
    assert trained < everybody == {row["image_id"] for row in credited(folder)}
    (vae,) = (part for part in read_provenance(folder)["built_on"] if part["role"] == "vae")
    assert vae["origin"]["catalogs"].keys() == {"cc", "museum"}

    found = evaluate(str(folder), samples=4, steps=1, device="cpu")
    assert found.catalogs.keys() == {"cc", "museum"}
    assert found.seen.prompts == 4 and found.heldout
    wanted = {row["image_id"]: row["catalog"] for row in rows_of(folder)}
    assert {wanted[sample.image_id] for sample in (*found.seen_samples, *found.heldout_samples)} == {
        "cc",
        "museum",
    }
    stored = {
        row["image_id"]: row["image"] for uri in ("museum", "catalog") for row in images_of(tmp_path, uri)
    }
    for sample in (*found.seen_samples, *found.heldout_samples):
        with Image.open(Path(found.out) / sample.real_file) as shown:
            assert np.array_equal(np.asarray(shown), square(decode(stored[sample.image_id]), 16))
    with pytest.raises(
        ModelError, match=r"several catalogs, .*write NAME=URI, where NAME is one of cc, museum"
    ):
        evaluate(str(folder), catalog=str(tmp_path / "museum.lance"), device="cpu")

    # A part's catalog that is gone is found out before the next training.
    (tmp_path / "museum.lance").rename(tmp_path / "lost.lance")
    again = evaluate(
        str(folder), catalog=[f"museum={tmp_path / 'lost.lance'}"], samples=4, steps=1, device="cpu"
    )
    assert again.figures() == found.figures()
    alone = recipe("xs", tmp_path, *TITLES, "--out", str(tmp_path / "alone"))
    with pytest.raises(CatalogError, match=r"xs-autoencoder learned from catalog .*museum\.lance at train-"):
        train(alone)


@pytest.mark.slow
def test_a_run_over_both_stops_and_goes_on_in_the_same_bits(encoded: tuple[str, ...], tmp_path: Path) -> None:
    folder = train(recipe("xs", tmp_path, *encoded))
    parted = recipe("xs", tmp_path, *encoded, "--out", str(tmp_path / "parted"))
    with stopping_at(2):
        train(parted)
    assert same_bits(folder, train(parted, resume=True))


@pytest.mark.slow
def test_a_column_that_one_lacks_or_has_from_others_names_its_catalog(
    shapes: Catalog, museum: Catalog, tmp_path: Path
) -> None:
    train(recipe("xs-autoencoder", tmp_path))
    words = (*both(tmp_path), *TITLES)
    encode(recipe("xs", tmp_path, *TITLES))
    with pytest.raises(TrainingError, match=r"museum\.lance .* has no column latent_xs_autoencoder_16"):
        make_task(recipe("xs", tmp_path, *words))

    train(
        recipe("xs-autoencoder", tmp_path, "--seed", "3", "--out", str(tmp_path / "other" / "xs-autoencoder"))
    )
    strange = ("--vae", str(tmp_path / "other" / "xs-autoencoder"), "--data.catalog", museum.uri)
    encode(recipe("xs", tmp_path, *TITLES, *strange))
    with pytest.raises(
        TrainingError, match=r"latent_\w+ of .*museum\.lance was made by .*commoncanvas encode .*--overwrite"
    ):
        make_task(recipe("xs", tmp_path, *words))
    with pytest.raises(CatalogError, match=r"latent_\w+ of .*museum\.lance was made by"):
        encode(recipe("xs", tmp_path, *words))
    encode(recipe("xs", tmp_path, *words), overwrite=True)
    make_task(recipe("xs", tmp_path, *words))

    Catalog.open(museum.uri).dataset.update({"title": "'a renamed scan'"}, "image_id = 'museum:0dot'")
    with pytest.raises(TrainingError, match=r"museum\.lance is out of date: the text has changed in 1 row;"):
        make_task(recipe("xs", tmp_path, *words))


def test_image_features_must_be_the_same_networks_in_both(
    shapes: Catalog, museum: Catalog, tmp_path: Path
) -> None:
    words = both(tmp_path)
    encode(recipe("xs-captioner", tmp_path))
    with pytest.raises(TrainingError, match=r"museum\.lance .* has no column efficientnet_lite0_2"):
        make_task(recipe("xs-captioner", tmp_path, *words))
    made = recipe("xs-captioner", tmp_path, *words)
    encode(made)
    folder = train(made)
    assert {row["creator"] for row in credited(folder)} > {"a curator"}
    field = Catalog.open(museum.uri).schema.field("efficientnet_lite0_2")
    Catalog.open(museum.uri).drop_columns(["efficientnet_lite0_2"])
    about = json.loads(field.metadata[b"commoncanvas"]) | {"sha256": "f" * 64}
    other = pa.field(field.name, field.type, metadata={**field.metadata, b"commoncanvas": json.dumps(about)})
    newest = Catalog.open(museum.uri)
    newest.add_columns([other])
    with pytest.raises(
        CatalogError, match=r"efficientnet_lite0_2 of .*museum\.lance was made by .*catalog\.lance by"
    ):
        agreed([Catalog.open(shapes.uri), newest], "efficientnet_lite0_2")


@pytest.mark.slow
def test_features_to_be_aligned_with_must_be_in_each(vae: str, museum: Catalog, tmp_path: Path) -> None:
    words = (*both(tmp_path), *ALIGNED)
    encode(recipe("xs", tmp_path, *both(tmp_path), *TITLES))
    encode(recipe("xs-captioner", tmp_path))
    with pytest.raises(
        RecipeError, match=r"alignment\.column efficientnet_lite0_2 of .*museum\.lance doesn't hold"
    ):
        make_task(recipe("xs", tmp_path, *words))
    encode(recipe("xs", tmp_path, *words))
    train(recipe("xs", tmp_path, *words))


@pytest.mark.heavy
def test_two_processes_over_both_have_the_losses_of_one(encoded: tuple[str, ...], tmp_path: Path) -> None:
    one = recipe("xs", tmp_path, *encoded, *FP32)
    train(one)
    two = recipe("xs", tmp_path, *encoded, *FP32, "--out", str(tmp_path / "two"))
    finish(start(2, two))
    assert losses(two) == pytest.approx(losses(one), rel=3e-5)


@pytest.mark.slow
def test_a_text_that_only_one_catalog_has_is_drawn_for_its_rows(
    shapes: Catalog, museum: Catalog, tmp_path: Path
) -> None:
    museum.add_columns([pa.field("story", pa.string())])
    museum.dataset.update({"story": "concat('the story of ', title)"})
    train(recipe("xs-autoencoder", tmp_path, *both(tmp_path)))
    words = (*both(tmp_path), "--data.heldout_fraction", "0", "--data.text", "{title: 1, story: 1}")
    made = recipe("xs", tmp_path, *words)
    encode(made)
    task = make_task(made)
    table = task.rows.read("train", slice(None), list(task.columns))
    there = table["story"].is_valid().to_numpy()
    assert (there == (task.rows.sources_of("train") == 1)).all() and there.any()
    states = task.batch(table, np.full(len(table), 0.99))["text"]
    stories = [name for name in task.columns if name.endswith("story") and name != "story"]
    wanted = np.stack(table[stories[0]].drop_null().to_numpy(zero_copy_only=False))
    assert (states[there].numpy().reshape(len(wanted), -1) == wanted).all()
    train(made)


@pytest.mark.slow
def test_batches_of_one_aspect_ratio_have_rows_of_both(oblongs: Catalog, tmp_path: Path) -> None:
    other = Catalog.create(tmp_path / "museum.lance")
    draw = np.random.default_rng(1)
    pictures = [
        scan(f"museum:{number}{height}", "gold", "dot", width=width, height=height)
        | {"image": encode_image(draw.integers(0, 256, (height, width, 3), np.uint8), "png")}
        for height, width in SIDES
        for number in range(4)
    ]
    other.add([to_batch(pictures)])
    made = recipe("xs", tmp_path, *BUCKETS, *both(tmp_path, {"share": 1}))
    encode(made)
    task = make_task(made)
    kinds, sources = task.rows.kinds_of("train"), task.rows.sources_of("train")
    loader = Loader(task, made, Ranks(0, 1, CPU))
    drawn = []
    for step in range(400):
        positions = loader.samples(step).positions
        assert len(set(kinds[positions])) == 1
        drawn.extend(positions)
    assert abs(float(np.mean(sources[drawn])) - 0.5) < 0.02
    train(made)
