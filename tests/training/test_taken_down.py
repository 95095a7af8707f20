"""What was taken down is not trained on, encoded, shown or credited, whatever version a run is pinned to."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from commoncanvas.catalog import Catalog, takedown
from commoncanvas.core.errors import TrainingError
from commoncanvas.encoding.command import encode
from commoncanvas.provenance.record_file import read_provenance
from commoncanvas.training.tasks.make import make_task
from commoncanvas.training.trainer import train
from tests.training.museum import both, museum
from tests.training.test_trainer import losses, same_bits
from tests.training.tiny import recipe, stopping_at

__all__ = ["museum"]

GONE = ("shapes:01", "shapes:06", "shapes:17")


def forget(catalog: Catalog, *image_ids: str) -> None:
    takedown(catalog.uri, id=list(image_ids or GONE), reason="asked")


def shown(folder: Path) -> set[str]:
    """Ids in rows.parquet, which have to be those that are credited, but for held-out ones."""
    rows = pq.read_table(folder / "rows.parquet").to_pylist()
    with (folder / "credits.csv").open(encoding="utf-8", newline="") as file:
        credited = {line["image_id"] for line in csv.DictReader(file)}
    assert credited == {row["image_id"] for row in rows if row["split"] == "train"}
    return {row["image_id"] for row in rows}


def test_a_new_run_at_a_version_from_before_leaves_it_out_and_says_how_many(
    shapes: Catalog, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = shapes.version
    forget(shapes)
    made = recipe("xs-autoencoder", tmp_path, "--data.version", str(before))
    folder = train(made)
    assert not shown(folder) & set(GONE)
    assert len(shown(folder)) == 21
    record = read_provenance(folder)
    assert record["rows"]["train"] == 21
    assert record["catalogs"]["main"]["left_out"] == 3
    assert not any(gone in json.dumps(record) for gone in GONE)
    assert "3 images" in capsys.readouterr().err
    forget(shapes, "shapes:20")
    assert train(made, resume=True) == folder  # finished: what it saw is what it saw


@pytest.mark.slow
def test_a_run_that_had_left_some_out_goes_on_to_the_same_bits(shapes: Catalog, tmp_path: Path) -> None:
    before = shapes.version
    forget(shapes)
    words = ("--data.version", str(before), "--data.fraction", "0.5")
    whole = recipe("xs-autoencoder", tmp_path, *words)
    parted = recipe("xs-autoencoder", tmp_path, *words, "--out", str(tmp_path / "parted"))
    train(whole)
    with stopping_at(2, fraction=0.5):
        train(parted)
    train(parted, resume=True)
    assert same_bits(Path(whole.out), Path(parted.out))
    assert shown(Path(whole.out)) >= shown(Path(parted.out))
    assert read_provenance(parted.out)["training"]["taken_down"] == []


@pytest.mark.parametrize(
    "words",
    [
        (),
        pytest.param(("--data.heldout_fraction", "0.3"), marks=pytest.mark.slow),
        pytest.param(("--data.fraction", "0.6"), marks=pytest.mark.slow),
    ],
)
def test_a_resumed_run_stops_and_goes_on_without_it_only_when_asked(
    shapes: Catalog, tmp_path: Path, words: tuple[str, ...]
) -> None:
    made = recipe("xs-autoencoder", tmp_path, *words)
    with stopping_at(3, fraction=made.data.fraction):
        train(made)
    forget(shapes)
    for _ in range(2):
        with pytest.raises(TrainingError) as raised:
            train(made, resume=True)
        said = str(raised.value)
        assert "\n" not in said
        assert all(gone in said for gone in GONE)
        assert "--resume --without-taken-down" in said
        assert "-anew" in said
    with stopping_at(4, fraction=made.data.fraction):
        train(made, resume=True, without_taken_down=True)
    # From here on it is a run without them, and needs no word.
    folder = train(made, resume=True)
    assert not shown(folder) & set(GONE)
    assert read_provenance(folder)["training"]["taken_down"] == [{"from_step": 4, "rows": 3}]
    assert [step for step, _ in losses(folder)] == [1, 2, 3, 4, 5, 6]
    run = json.loads((tmp_path / "xs-autoencoder-run/run.json").read_text())
    assert [part["from_step"] for part in run["taken_down"]] == [4]
    assert read_provenance(folder)["training"]["fingerprint"] == run["fingerprint"]


@pytest.mark.slow
def test_it_goes_on_to_the_same_bits_wherever_it_is_stopped_once_more(
    shapes: Catalog, tmp_path: Path
) -> None:
    made = [recipe("xs-autoencoder", tmp_path, "--out", str(tmp_path / name)) for name in ("once", "again")]
    for each in made:
        with stopping_at(2):
            train(each)
    forget(shapes)
    train(made[0], resume=True, without_taken_down=True)
    with stopping_at(4):
        train(made[1], resume=True, without_taken_down=True)
    train(made[1], resume=True)
    assert same_bits(tmp_path / "once", tmp_path / "again")


@pytest.mark.slow
def test_what_is_taken_down_twice_is_left_out_twice_and_both_are_on_record(
    shapes: Catalog, tmp_path: Path
) -> None:
    made = recipe("xs-autoencoder", tmp_path)
    with stopping_at(1):
        train(made)
    forget(shapes, "shapes:01")
    with stopping_at(3):
        train(made, resume=True, without_taken_down=True)
    forget(shapes, "shapes:06", "shapes:17")
    with pytest.raises(TrainingError, match="shapes:06, shapes:17"):
        train(made, resume=True)
    folder = train(made, resume=True, without_taken_down=True)
    assert not shown(folder) & set(GONE)
    assert read_provenance(folder)["training"]["taken_down"] == [
        {"from_step": 2, "rows": 1},
        {"from_step": 4, "rows": 2},
    ]


def test_what_one_catalog_had_to_forget_is_not_taken_from_another(
    shapes: Catalog, museum: Catalog, tmp_path: Path
) -> None:
    versions = {"cc": {"version": shapes.version}, "museum": {"version": museum.version}}
    forget(shapes, "shapes:03")  # the museum has it too
    task = make_task(recipe("xs-autoencoder", tmp_path, *both(tmp_path, **versions)))
    ids = task.rows.table["image_id"].to_pylist()
    assert "shapes:03" not in ids
    assert "shapes:07" in ids
    assert [len(each.left_out) for each in task.rows.selections] == [1, 1]


@pytest.mark.slow
def test_a_part_that_had_seen_it_brings_no_credit_of_it_back(shapes: Catalog, tmp_path: Path) -> None:
    made = recipe("xs", tmp_path)
    train(recipe("xs-autoencoder", tmp_path))
    encode(made)
    forget(shapes)
    folder = train(made)
    with (folder / "credits.csv").open(encoding="utf-8", newline="") as file:
        credited = {line["image_id"] for line in csv.DictReader(file)}
    assert credited
    assert not credited & set(GONE)


def test_rows_that_a_restored_version_brought_back_are_not_encoded(
    shapes: Catalog, vae: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shapes.refresh()
    before = shapes.version
    forget(shapes)
    Catalog.open(shapes.uri, before).dataset.restore()
    made = recipe("xs", tmp_path)
    capsys.readouterr()
    report = encode(made)
    assert "3 images" in capsys.readouterr().err
    latents = next(each.column for each in report if each.column.startswith("latent_"))
    assert report[latents].rows == 21
    shapes.refresh()
    done = shapes.table(["image_id"], f"{latents} IS NOT NULL")["image_id"].to_pylist()
    assert not set(done) & set(GONE)
