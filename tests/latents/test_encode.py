import pickle
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from safetensors.torch import load_file, save_file

from commoncanvas.catalog import Catalog
from commoncanvas.catalog.fetch import FetchStage
from commoncanvas.catalog.schema import to_batch
from commoncanvas.errors import CatalogError, ModelError, TrainingError
from commoncanvas.images.image import encode_image
from commoncanvas.latents.encode import FeatureStage, LatentStage, TextStage, column_info, encode, states
from commoncanvas.training.trainer import train
from tests.conftest import drawing
from tests.training.tiny import recipe


@pytest.fixture
def vae(shapes: Catalog, tmp_path: Path) -> str:
    return str(train(recipe("xs-autoencoder", tmp_path)))


def column(catalog: Catalog, name: str) -> np.ndarray:
    table = catalog.table(["image_id", name], filter=f"{name} IS NOT NULL").sort_by("image_id")
    return states(table[name], column_info(catalog, name).shape).numpy()


def test_the_same_image_gets_the_same_bits_whatever_batch_it_is_in(shapes: Catalog, vae: str) -> None:
    stages = [LatentStage(vae, 16), TextStage("minilm", 6, [("title", None)]), FeatureStage(2)]
    for stage in stages:
        batch = shapes.table([*stage.reads]).to_batches()[0]
        together = stage.encode(batch)
        backwards = stage.encode(batch.take(list(reversed(range(len(batch))))))
        alone = torch.cat([stage.encode(batch.slice(row, 1)) for row in range(len(batch))])
        assert torch.equal(together, alone), stage.name
        assert torch.equal(together, backwards.flip(0)), stage.name


def test_a_stage_takes_no_network_to_another_process_and_refuses_other_weights_there(
    shapes: Catalog, tmp_path: Path, vae: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path(vae).parent)
    stage = LatentStage(Path(vae).name, 16, "cpu")
    pickled = pickle.dumps(stage)
    assert len(pickled) < 2000
    batch = shapes.table(["image"]).to_batches()[0]
    expected = stage.encode(batch)
    monkeypatch.chdir(tmp_path.parent)  # where no such folder is
    copy = pickle.loads(pickled)
    copy.setup()
    assert torch.equal(copy.encode(batch), expected)
    weights = next(Path(vae).rglob("*.safetensors"))
    tensors = load_file(weights)
    save_file({name: tensor + 0.1 for name, tensor in tensors.items()}, weights)
    with pytest.raises(ModelError, match=r"has other weights on .* than where the run was started"):
        pickle.loads(pickled).setup()


def test_latents_are_those_that_diffusers_computes(shapes: Catalog, tmp_path: Path, vae: str) -> None:
    from diffusers import AutoencoderKL

    encode(recipe("xs", tmp_path))
    catalog = Catalog.open(shapes.uri)
    network = AutoencoderKL.from_pretrained(vae).eval()
    pixels = torch.from_numpy(drawing("red", "square").copy()).permute(2, 0, 1)[None].float() / 127.5 - 1
    pixels = torch.nn.functional.interpolate(pixels, size=16, mode="area")
    with torch.no_grad():
        wanted = network.encode(pixels).latent_dist.mode()[0].numpy()
    # The stored image is resized by libvips: alike, not the same to the bit.
    assert np.abs(column(catalog, "latent_xs_autoencoder_16")[0] - wanted).max() < 0.25


def test_text_states_are_those_that_the_pipeline_computes(shapes: Catalog, tmp_path: Path, vae: str) -> None:
    from diffusers import DiffusionPipeline

    encode(recipe("xs", tmp_path))
    pipeline = DiffusionPipeline.from_pretrained(train(recipe("xs", tmp_path)), safety_checker=None)
    catalog = Catalog.open(shapes.uri)
    table = catalog.table(["image_id", "label"], filter="label IS NOT NULL").sort_by("image_id")
    for label, state in zip(table["label"].to_pylist(), column(catalog, "text_minilm_6"), strict=True):
        wanted, _ = pipeline.encode_prompt(label, "cpu", 1, do_classifier_free_guidance=False)
        assert np.abs(state.astype(np.float32) - wanted[0].detach().numpy()).max() < 4e-3


def test_new_rows_are_encoded_and_old_ones_are_not_done_again(
    shapes: Catalog, tmp_path: Path, vae: str
) -> None:
    name = "latent_xs_autoencoder_16"
    assert encode(recipe("xs", tmp_path))[name]["rows"] == 24
    before = column(Catalog.open(shapes.uri), name)
    more = {"image_id": "shapes:99", "source": "shapes", "label": "a red dot", "license": "CC0-1.0"}
    more |= {"image": encode_image(drawing("red", "dot"), "png"), "fetch_status": "ok"}
    shapes.refresh()
    shapes.add([to_batch([more])])
    assert encode(recipe("xs", tmp_path))[name]["rows"] == 1
    assert (column(Catalog.open(shapes.uri), name)[:24] == before).all()
    assert encode(recipe("xs", tmp_path))[name]["rows"] == 0


def test_a_column_by_other_weights_is_refused_and_made_anew_only_on_request(
    shapes: Catalog, tmp_path: Path, vae: str
) -> None:
    encode(recipe("xs", tmp_path))
    before = column(Catalog.open(shapes.uri), "latent_xs_autoencoder_16")
    other = recipe(
        "xs-autoencoder", tmp_path, "--seed", "18", "--out", str(tmp_path / "other" / "xs-autoencoder")
    )
    changed = ["--vae", str(train(other))]
    with pytest.raises(CatalogError, match="--overwrite") as caught:
        encode(recipe("xs", tmp_path, *changed))
    assert "latent_xs_autoencoder_16" in str(caught.value)
    encode(recipe("xs", tmp_path, *changed), overwrite=True)
    assert (column(Catalog.open(shapes.uri), "latent_xs_autoencoder_16") != before).any()


def test_the_same_weights_in_another_place_make_the_same_column(
    shapes: Catalog, tmp_path: Path, vae: str
) -> None:
    encode(recipe("xs", tmp_path))
    elsewhere = tmp_path / "elsewhere" / "xs-autoencoder"
    elsewhere.parent.mkdir()
    Path(vae).rename(elsewhere)
    there = recipe("xs", tmp_path, "--vae", str(elsewhere))
    assert {column["rows"] for column in encode(there).values()} == {0}
    train(there)


def test_images_fetched_again_are_encoded_again(shapes: Catalog, tmp_path: Path, vae: str) -> None:
    name = "latent_xs_autoencoder_16"
    encode(recipe("xs", tmp_path))
    before = column(Catalog.open(shapes.uri), name)
    file = tmp_path / "new.png"
    file.write_bytes(encode_image(drawing("black", "square"), "png"))
    catalog = Catalog.open(shapes.uri)
    catalog.backfill(Replace(file.as_uri()), where="image_id = 'shapes:05'")
    assert catalog.count(f"{name} IS NULL") == 1
    assert encode(recipe("xs", tmp_path))[name]["rows"] == 1
    changed = (column(Catalog.open(shapes.uri), name) != before).reshape(24, -1).any(1)
    assert changed.nonzero()[0].tolist() == [5]


class Replace(FetchStage):
    """Fetches all rows once more, from one place."""

    def __init__(self, url: str) -> None:
        super().__init__(size=32, format="png", retry=("ok",))
        self.url = url

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        values = {"source": ["folder"] * len(batch), "image_url": [self.url] * len(batch)}
        return super().__call__(pa.RecordBatch.from_pydict(values))


def test_training_on_states_of_other_texts_is_refused(shapes: Catalog, tmp_path: Path, vae: str) -> None:
    encode(recipe("xs", tmp_path))
    with pytest.raises(TrainingError, match=r"text_minilm_6 .* from label, .* wants it by .* from title"):
        train(recipe("xs", tmp_path, "--data.text", "[title]"))


def test_a_vae_that_is_not_there_is_named(shapes: Catalog, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match=r"empty is not a VAE's folder: it has no config\.json"):
        encode(recipe("xs", tmp_path, "--vae", str(tmp_path / "empty")))


def test_an_image_size_that_the_vae_cannot_divide_is_named(vae: str) -> None:
    with pytest.raises(ModelError, match="18 is not a multiple of the VAE's downsampling factor 4"):
        LatentStage(vae, 18)
