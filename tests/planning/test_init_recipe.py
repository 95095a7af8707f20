"""`init` writes recipes that run, for any catalog, and that fit the number of its images."""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from commoncanvas.catalog import Catalog, FetchOptions, fetch, import_
from commoncanvas.cli import main
from commoncanvas.config import DiffusionRecipe, load_recipe
from commoncanvas.core.errors import CatalogError, RecipeError
from commoncanvas.core.text import clean
from commoncanvas.encoding.command import encode
from commoncanvas.planning.init_recipe import KINDS, Images, init_recipe
from commoncanvas.table.schema import to_batch
from commoncanvas.training.trainer import train
from tests.conftest import COLOURS, SHAPES, drawing


@pytest.fixture
def scans(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A museum's folder of 24 scans and its CSV, imported and fetched as README says."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "scans"
    folder.mkdir()
    with (folder / "metadata.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "license", "creator", "title"])
        for colour in COLOURS:
            for shape in SHAPES:
                Image.fromarray(drawing(colour, shape, 40)).save(folder / f"{colour}-{shape}.png")
                writer.writerow([f"{colour}-{shape}.png", "CC BY-NC 4.0", "Ada", f"a {colour} {shape}: [1]"])
    import_("folder", "my.lance", path=folder, label_column="title")
    fetch("my.lance", FetchOptions(size=32))
    return tmp_path


@pytest.mark.slow
def test_the_recipes_of_a_small_folder_are_encoded_trained_and_run_as_they_are_written(
    scans: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["commoncanvas", "init", "xs", "ours.yaml", "--catalog", "my.lance"]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    told = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert told == [
        "wrote ours-autoencoder.yaml and ours.yaml for 24 images; next:",
        "commoncanvas train ours-autoencoder.yaml",
        "commoncanvas encode ours.yaml",
        "commoncanvas train ours.yaml",
        "commoncanvas evaluate runs/ours --html runs/ours.html",
    ]
    short = ["--train.steps", "3", "--train.sample_every", "2"]
    train(load_recipe("ours-autoencoder.yaml", short))
    encode(load_recipe("ours.yaml"))
    monkeypatch.setattr(sys, "argv", ["commoncanvas", "train", "ours.yaml", *short])
    with pytest.raises(SystemExit):
        main()
    done = capsys.readouterr()
    assert done.out == "model: runs/ours\n"
    assert done.err.splitlines()[-1] == "next: commoncanvas evaluate runs/ours"
    assert (scans / "runs/ours-run/samples").is_dir()


def test_the_recipe_has_the_texts_and_the_licences_of_the_catalog(scans: Path) -> None:
    init_recipe("xs", "my model.yaml", catalog="my.lance", where="title LIKE '%red%' OR title LIKE '%blue%'")
    own = load_recipe("my model.yaml")
    assert isinstance(own, DiffusionRecipe)
    assert (own.name, own.data.text, own.data.policy) == ("my-model", ["label"], "noncommercial")
    assert own.data.heldout_fraction == 0 and own.text_length == 16  # eight images
    assert len(own.sample.prompts) == 8 and all(text.endswith(": [1]") for text in own.sample.prompts)
    with pytest.raises(CatalogError, match=r"24 rows, 24 with .*, 0 with license IN \(commercial licences\)"):
        init_recipe("s", "c.yaml", catalog="my.lance", policy="commercial")
    with pytest.raises(RecipeError, match=r"my model-autoencoder.yaml and my model.yaml exist already"):
        init_recipe("xs", "my model.yaml", catalog="my.lance")
    for name in ("ours", "ours.txt", "é.yaml"):
        with pytest.raises(RecipeError, match=r"give one such as ours\.yaml"):
            init_recipe("xs", name, catalog="my.lance")
    assert sorted(path.name for path in scans.glob("*.yaml")) == [
        "my model-autoencoder.yaml",
        "my model.yaml",
    ]


def test_licences_that_no_one_licence_can_cover_are_told_before_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "scans").mkdir()
    rows = ["file,license,creator,title"]
    for shape, license in zip(SHAPES[:2], ("CC BY-SA 4.0", "CC BY-NC 4.0"), strict=True):
        Image.fromarray(drawing(COLOURS[0], shape, 40)).save(f"scans/{shape}.png")
        rows.append(f"{shape}.png,{license},Ada,a {shape}")
    (tmp_path / "scans/metadata.csv").write_text("\n".join(rows) + "\n")
    import_("folder", "my.lance", path=tmp_path / "scans", label_column="title")
    fetch("my.lance", FetchOptions(size=32))
    started = init_recipe("xs", "ours.yaml", catalog="my.lance")
    assert started.conflict is not None and "CC-BY-NC-4.0" in started.conflict
    assert "before you share the model: no single licence can cover all" in " ".join(str(started).split())
    assert init_recipe("xs", "c.yaml", catalog="my.lance", policy="commercial").conflict is None


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({}, "1 row, 0 with fetch_status = 'ok'; to fetch the images: commoncanvas catalog fetch --catalog"),
        ({"fetch_status": "ok"}, "0 with license IN"),
        ({"fetch_status": "ok", "license": "CC0-1.0"}, "to write captions: commoncanvas caption --catalog"),
    ],
)
def test_a_catalog_that_is_not_ready_names_the_command_that_comes_first(
    tmp_path: Path, row: dict[str, Any], message: str
) -> None:
    catalog = Catalog.create(tmp_path / "c.lance")
    catalog.add([to_batch([{"image_id": "a:1", "source": "a"} | row])])
    with pytest.raises(CatalogError) as error:
        init_recipe("finetune", tmp_path / "ours.yaml", catalog=catalog.uri)
    assert message in str(error.value)
    assert not (tmp_path / "ours.yaml").exists()


@settings(max_examples=40)
@given(
    kind=st.sampled_from(list(KINDS)),
    count=st.integers(1, 100_000_000),
    side=st.integers(0, 3000),
    prompts=st.lists(st.text(max_size=30).map(clean).filter(bool), max_size=8),
    words=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20),
)
def test_any_catalog_has_recipes_that_fit(
    tmp_path_factory: pytest.TempPathFactory, kind: str, count: int, side: int, prompts: list[str], words: str
) -> None:
    folder = tmp_path_factory.mktemp("own")
    images = Images(words, words, "commercial", count, ["label", "caption"], 32, side, prompts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("commoncanvas.planning.init_recipe._images", lambda *_: images)
        started = init_recipe(kind, folder / "ours.yaml", catalog=words, model=words)
    for file in started.recipes:
        own = load_recipe(file)
        data, steps = own.data, own.train.steps
        source = data.catalogs["main"]
        assert (source.catalog, source.filter, data.text_columns) == (words, words, ["label", "caption"])
        assert own.train.batch_size <= max(1, images.trained // 4) and own.train.warmup_steps < steps
        assert 0 < own.train.checkpoint_every <= steps
        held = count * data.heldout_fraction
        assert held == 0 if count < 20 else 1 < held < 1100
        seen = steps * own.train.batch_size / images.trained
        assert count > 20_000 or seen >= 5  # of more the steps are bounded
        if isinstance(own, DiffusionRecipe):
            assert own.sample.prompts == prompts
            assert kind != "finetune" or (own.init, own.size) == (words, 512 if side >= 512 else 256)
