"""From a model to everybody whose work it, or a part that it is built on, learned from."""

from __future__ import annotations

import csv
import json
import shutil
from itertools import compress
from pathlib import Path

import pytest

from commoncanvas.captioning import caption
from commoncanvas.catalog import Catalog, takedown
from commoncanvas.config import Recipe
from commoncanvas.core.errors import CatalogError, LicenseError, ModelError, TrainingError
from commoncanvas.encoding.command import encode
from commoncanvas.images.image import encode_image
from commoncanvas.provenance.folder import read_rows
from commoncanvas.provenance.record import origin
from commoncanvas.provenance.record_file import read_provenance
from commoncanvas.selection.heldout import fraction_mask, heldout_mask
from commoncanvas.table.schema import SCHEMA, to_batch
from commoncanvas.training.trainer import train
from tests.captioning.models import xs
from tests.conftest import drawing
from tests.training.tiny import recipe

# Of the 24 shapes every third is CC-BY-4.0, CC-BY-SA-4.0, CC0-1.0; the odd ones have labels.
BY, BY_SA, CC0 = (f"license = '{name}'" for name in ("CC-BY-4.0", "CC-BY-SA-4.0", "CC0-1.0"))


def credited(folder: Path) -> set[str]:
    with (folder / "credits.csv").open(encoding="utf-8", newline="") as file:
        ids = [row["image_id"] for row in csv.DictReader(file)]
    assert len(ids) == len(set(ids))
    return set(ids)


def ids(catalog: str, where: str) -> set[str]:
    return set(Catalog.open(catalog).table(["image_id"], where)["image_id"].to_pylist())


def writing(out: Path, *words: str) -> Recipe:
    """A captioner that has learned enough to write something."""
    return recipe("xs-captioner", out, "--train.steps", "60", *words)


@pytest.mark.slow
def test_a_model_carries_the_licences_and_credits_of_its_parts(shapes: Catalog, tmp_path: Path) -> None:
    """A captioner of CC-BY images, a VAE of CC-BY-SA ones, a U-Net of CC0 ones."""
    held = ["--data.heldout_fraction", "0.3"]
    captioner = writing(tmp_path, "--data.filter", BY, *held)
    encode(captioner)
    caption(shapes.uri, xs(train(captioner)))
    train(recipe("xs-autoencoder", tmp_path, "--data.filter", BY_SA, *held))
    of_model = ["--data.filter", CC0, *held]
    encode(recipe("xs", tmp_path, *of_model))
    model = train(recipe("xs", tmp_path, *of_model))

    record = read_provenance(model)
    assert record["licenses"].keys() == {"CC0-1.0"}
    assert record["result_license"] == "CC-BY-SA-4.0"
    origins = {part["role"]: part["origin"] for part in record["built_on"]}
    assert origins.keys() == {"vae", "text_encoder", "captioner"}
    assert origins["text_encoder"] is None
    assert origins["vae"]["licenses"].keys() == {"CC-BY-SA-4.0"}
    assert origins["captioner"]["licenses"].keys() == {"CC-BY-4.0"}
    assert all(len(part["sha256"]) == 64 for part in record["built_on"])

    chosen = ids(shapes.uri, f"{CC0} OR {BY_SA} OR ({BY} AND label IS NOT NULL)")
    held_out = set(compress(sorted(chosen), heldout_mask(sorted(chosen), 0.3)))
    assert len(held_out) > 3
    assert credited(model) == chosen - held_out


@pytest.mark.slow
def test_a_model_of_a_fraction_credits_only_who_made_that_and_so_does_what_is_built_on_it(
    shapes: Catalog, tmp_path: Path
) -> None:
    held = ["--data.heldout_fraction", "0.3"]
    train(recipe("xs-autoencoder", tmp_path, "--data.filter", BY_SA, *held, "--data.fraction", "0.5"))
    (tmp_path / "xs-autoencoder" / "credits.csv").unlink()  # so that its people are looked up in the catalog
    titles = ["--data.filter", CC0, "--data.text", "[title]", *held]
    of_model = [*titles, "--data.fraction", "0.4", "--data.fraction_seed", "3"]
    encode(recipe("xs", tmp_path, *of_model))
    model = train(recipe("xs", tmp_path, *of_model))

    def used(where: str, fraction: float, seed: int) -> set[str]:
        found = sorted(ids(shapes.uri, where))
        rest = list(compress(found, ~heldout_mask(found, 0.3)))
        return set(compress(rest, fraction_mask(rest, fraction, seed)))

    own, of_vae = used(CC0, 0.4, 3), used(BY_SA, 0.5, 0)
    rows = read_rows(str(model)).to_pylist()
    assert {row["image_id"] for row in rows if row["split"] == "train"} == own
    record = read_provenance(model)
    chosen = record["rows"]
    assert (chosen["train"], chosen["train"] + chosen["heldout"] + chosen["unused"]) == (len(own), 8)
    assert chosen["unused"] > 0 and sum(record["licenses"].values()) == len(own)
    assert 0 < len(of_vae) < 8 and credited(model) == own | of_vae


@pytest.mark.slow
def test_images_of_one_group_are_held_out_together_and_credited_together(
    shapes: Catalog, tmp_path: Path
) -> None:
    held = ["--data.heldout_fraction", "0.4", "--data.heldout_by", "regexp_replace(image_id, '.$', '')"]
    folder = train(recipe("xs-autoencoder", tmp_path, *held))
    splits: dict[str, set[str]] = {}
    rows = read_rows(str(folder)).to_pylist()
    for row in rows:
        splits.setdefault(row["image_id"][:-1], set()).add(row["split"])
        assert row["group"] == row["image_id"][:-1]
    assert all(len(found) == 1 for found in splits.values())
    assert {"train"} in splits.values() and {"heldout"} in splits.values()
    trained = {row["image_id"] for row in rows if row["split"] == "train"}
    assert trained == credited(folder)

    (folder / "credits.csv").unlink()  # so that what is built on it looks its people up in the catalog
    of_model = ["--data.filter", CC0, "--data.text", "[title]", "--data.heldout_fraction", "0"]
    encode(recipe("xs", tmp_path, *of_model))
    model = train(recipe("xs", tmp_path, *of_model))
    assert credited(model) == trained | ids(shapes.uri, CC0)


def test_an_expression_that_is_no_sql_is_refused(shapes: Catalog, tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match=r"SQL expression 'creatr': .*No field named creatr"):
        train(recipe("xs-autoencoder", tmp_path, "--data.heldout_by", "creatr"))
    assert not (tmp_path / "xs-autoencoder-run").exists()


def test_a_fraction_without_an_image_is_refused(shapes: Catalog, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"data\.fraction 0\.01 of 24 images .* is less than one image"):
        train(recipe("xs-autoencoder", tmp_path, "--data.fraction", "0.01"))


@pytest.mark.slow
def test_those_who_made_a_captioners_images_must_be_within_reach_before_the_training(
    shapes: Catalog, tmp_path: Path
) -> None:
    encode(writing(tmp_path))
    folder = train(writing(tmp_path))
    caption(shapes.uri, xs(folder))
    shutil.rmtree(folder)
    train(recipe("xs-autoencoder", tmp_path))
    encode(recipe("xs", tmp_path))
    tag = next(tag for tag in Catalog.open(shapes.uri).tags() if tag.startswith("train-xs-captioner"))
    Catalog.open(shapes.uri).delete_tag(tag)
    with pytest.raises(CatalogError, match=r"xs-captioner learned from .* can't be credited"):
        train(recipe("xs", tmp_path))
    assert not (tmp_path / "xs-run").exists()

    # A tag of that name on other rows is not mistaken for it.
    more = {"image_id": "shapes:99", "source": "shapes", "label": "a dot", "license": "CC0-1.0"}
    shapes.add(
        [to_batch([more | {"image": encode_image(drawing("red", "dot"), "png"), "fetch_status": "ok"}])]
    )
    encode(writing(tmp_path))
    Catalog.open(shapes.uri).tag(tag)
    with pytest.raises(CatalogError, match="has other rows now"):
        train(recipe("xs", tmp_path))


@pytest.mark.slow
def test_a_captioner_that_wrote_nothing_the_model_read_is_no_part_of_it(
    shapes: Catalog, tmp_path: Path
) -> None:
    encode(writing(tmp_path))
    caption(shapes.uri, xs(train(writing(tmp_path))))
    train(recipe("xs-autoencoder", tmp_path))
    labels = ["--data.filter", "label IS NOT NULL"]
    encode(recipe("xs", tmp_path, *labels))
    record = read_provenance(train(recipe("xs", tmp_path, *labels)))
    assert [part["role"] for part in record["built_on"]] == ["vae", "text_encoder"]


def test_a_commercial_model_is_not_built_on_noncommercial_parts(encoded: Path) -> None:
    file = encoded / "xs-autoencoder" / "provenance.json"
    record = json.loads(file.read_text())
    record["licenses"]["CC-BY-NC-2.0"] = 3
    file.write_text(json.dumps(record))
    with pytest.raises(
        LicenseError, match=r"vae .* under CC-BY-NC-2\.0, which policy commercial does not allow"
    ):
        train(recipe("xs", encoded, "--data.policy", "commercial"))
    assert (
        read_provenance(train(recipe("xs", encoded)))["result_license"] is None
    )  # BY-SA and NC: no one licence


def test_a_broken_record_is_named_and_a_missing_one_says_nothing(tmp_path: Path) -> None:
    assert origin(tmp_path) is None
    for text, says in (("{", "not valid JSON"), ("[]", "is not a JSON object"), ("{}", "lacks name, task")):
        (tmp_path / "provenance.json").write_text(text)
        with pytest.raises(ModelError, match=says):
            origin(tmp_path)


def test_a_record_of_another_version_is_refused_before_the_training(encoded: Path) -> None:
    file = encoded / "xs-autoencoder" / "provenance.json"
    whole = file.read_text()
    for spoil, says in (
        (
            lambda source: source.pop("heldout_by"),
            r"catalogs\.main\.heldout_by: field required; train the model again",
        ),
        (
            lambda source: source.update(fraction="half"),
            r"catalogs\.main\.fraction: input should be a valid number",
        ),
    ):
        record = json.loads(whole)
        spoil(record["catalogs"]["main"])
        file.write_text(json.dumps(record))
        with pytest.raises(ModelError, match=says):
            train(recipe("xs", encoded))
        assert not Path(f"{recipe('xs', encoded).out}-run").exists()


@pytest.mark.slow
def test_a_purge_leaves_the_captions_of_a_model_that_had_learned_from_the_row(
    shapes: Catalog, tmp_path: Path
) -> None:
    """It deletes the tag by which the captioner's images would be found; its folder has their credits."""
    captioner = writing(tmp_path, "--data.filter", BY)
    encode(captioner)
    folder = train(captioner)
    caption(shapes.uri, xs(folder))
    train(recipe("xs-autoencoder", tmp_path))
    (gone, *_) = sorted(credited(folder))
    takedown(shapes.uri, id=[gone], reason="asked", purge=True)
    encode(recipe("xs", tmp_path))
    credits = credited(train(recipe("xs", tmp_path)))
    assert gone not in credits
    assert credits >= credited(folder) - {gone}


def test_what_was_taken_down_from_the_catalog_of_a_part_is_not_credited_by_a_model_of_another(
    shapes: Catalog, tmp_path: Path
) -> None:
    vae = train(recipe("xs-autoencoder", tmp_path))
    other = tmp_path / "other.lance"
    rows = shapes.table(list(SCHEMA.names)).to_pylist()
    Catalog.create(other).add([to_batch([{**row, "image_id": f"other:{row['image_id']}"} for row in rows])])
    assert "shapes:03" in credited(vae)
    takedown(shapes.uri, id=["shapes:03"], reason="asked")
    made = recipe("xs", tmp_path, "--data.catalog", str(other))
    encode(made)
    credits = credited(train(made))
    assert "shapes:02" in credits
    assert "shapes:03" not in credits
