import json
import pickle
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file, save_file

from commoncanvas.catalog import Catalog, FetchOptions
from commoncanvas.catalog.fetching.stage import FetchStage
from commoncanvas.core.errors import CatalogError, ModelError, RecipeError, TrainingError
from commoncanvas.encoding.command import column_info, encode
from commoncanvas.encoding.stages import FeatureStage, LatentStage, TextStage
from commoncanvas.encoding.states import states, values
from commoncanvas.images.image import encode_image
from commoncanvas.models import efficientnet
from commoncanvas.provenance.record_file import read_provenance
from commoncanvas.table.schema import to_batch
from commoncanvas.training.order import epoch_draws
from commoncanvas.training.task import HALFWAY
from commoncanvas.training.tasks.make import make_task
from commoncanvas.training.trainer import Trainer, train
from tests.conftest import drawing
from tests.training.tiny import recipe


def column(catalog: Catalog, name: str) -> np.ndarray:
    table = catalog.table(["image_id", name], where=f"{name} IS NOT NULL").sort_by("image_id")
    return states(table[name], column_info(catalog, name).shape).numpy()


@pytest.mark.slow
def test_the_same_image_gets_the_same_bits_whatever_batch_it_is_in(shapes: Catalog, vae: str) -> None:
    stages = [LatentStage(vae, 16), TextStage("minilm", 6, ["title"]), FeatureStage(2)]
    for stage in stages:
        batch = shapes.table([*stage.reads]).to_batches()[0]
        stage.setup()
        together = stage(batch)
        reversed_rows = list(reversed(range(len(batch))))
        backwards = stage(batch.take(reversed_rows)).take(reversed_rows)
        alone = pa.Table.from_batches([stage(batch.slice(row, 1)) for row in range(len(batch))])
        assert pa.Table.from_batches([together]).equals(alone), stage.name
        assert together.equals(backwards), stage.name


def test_a_stage_takes_no_network_to_another_process_and_refuses_other_weights_there(
    shapes: Catalog, tmp_path: Path, vae: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path(vae).parent)
    stage = LatentStage(Path(vae).name, 16, device="cpu")
    pickled = pickle.dumps(stage)
    assert len(pickled) < 2000
    batch = shapes.table(["image"]).to_batches()[0]
    stage.setup()
    expected = stage(batch)
    monkeypatch.chdir(tmp_path.parent)  # where no such folder is
    copy = pickle.loads(pickled)
    copy.setup()
    assert copy(batch).equals(expected)
    weights = next(Path(vae).rglob("*.safetensors"))
    tensors = load_file(weights)
    save_file({name: tensor + 0.1 for name, tensor in tensors.items()}, weights)
    with pytest.raises(ModelError, match=r"has other weights on .* than on the machine that started the run"):
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
    table = catalog.table(["image_id", "label"], where="label IS NOT NULL").sort_by("image_id")
    for label, state in zip(table["label"].to_pylist(), column(catalog, "text_minilm_6"), strict=True):
        wanted, _ = pipeline.encode_prompt(label, "cpu", 1, do_classifier_free_guidance=False)
        assert np.abs(state.astype(np.float32) - wanted[0].detach().numpy()).max() < 4e-3


def test_texts_longer_than_the_encoder_reads_are_counted_with_its_length(
    shapes: Catalog, tmp_path: Path, vae: str, capsys: pytest.CaptureFixture[str]
) -> None:
    long = "title LIKE 'red%'"
    shapes.dataset.update({"label": "'a red square beside a blue circle on the grass'"}, where=long)
    count = Catalog.open(shapes.uri).count(long)
    made = recipe("xs", tmp_path)
    column = f"text_minilm_{made.text_length}"
    report = encode(made)[column]
    assert report.texts_cut == count > 0 and report.texts_counted == report.rows
    said = capsys.readouterr().err
    assert f"{count} of {report.rows} texts are longer than {made.text_length} tokens" in said
    assert not encode(made)[column].texts_counted  # nothing was encoded


def test_new_rows_are_encoded_and_old_ones_are_not_done_again(
    shapes: Catalog, tmp_path: Path, vae: str
) -> None:
    name = "latent_xs_autoencoder_16"
    assert encode(recipe("xs", tmp_path))[name].rows == 24
    before = column(Catalog.open(shapes.uri), name)
    more = {"image_id": "shapes:99", "source": "shapes", "label": "a red dot", "license": "CC0-1.0"}
    more |= {"image": encode_image(drawing("red", "dot"), "png"), "fetch_status": "ok"}
    shapes.refresh()
    shapes.add([to_batch([more])])
    assert encode(recipe("xs", tmp_path))[name].rows == 1
    assert (column(Catalog.open(shapes.uri), name)[:24] == before).all()
    assert encode(recipe("xs", tmp_path))[name].rows == 0


@pytest.mark.slow
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


@pytest.mark.slow
def test_the_same_weights_in_another_place_make_the_same_column(
    shapes: Catalog, tmp_path: Path, vae: str
) -> None:
    encode(recipe("xs", tmp_path))
    elsewhere = tmp_path / "elsewhere" / "xs-autoencoder"
    elsewhere.parent.mkdir()
    Path(vae).rename(elsewhere)
    there = recipe("xs", tmp_path, "--vae", str(elsewhere))
    assert {column.rows for column in encode(there).columns} == {0}
    train(there)


@pytest.mark.slow
def test_images_fetched_again_are_encoded_again(shapes: Catalog, tmp_path: Path, vae: str) -> None:
    name = "latent_xs_autoencoder_16"
    encode(recipe("xs", tmp_path))
    before = column(Catalog.open(shapes.uri), name)
    file = tmp_path / "new.png"
    file.write_bytes(encode_image(drawing("black", "square"), "png"))
    catalog = Catalog.open(shapes.uri)
    with closing(Replace(file.as_uri())) as stage:
        catalog.backfill(stage, where="image_id = 'shapes:05'")
    assert catalog.count(f"{name} IS NULL") == 1
    assert encode(recipe("xs", tmp_path))[name].rows == 1
    changed = (column(Catalog.open(shapes.uri), name) != before).reshape(24, -1).any(1)
    assert changed.nonzero()[0].tolist() == [5]


class Replace(FetchStage):
    """Fetches all rows once more, from one place."""

    def __init__(self, url: str) -> None:
        super().__init__(FetchOptions(size=32, format="png"), retry=("ok",))
        self.url = url

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        values = {"source": ["folder"] * len(batch), "image_url": [self.url] * len(batch)}
        return super().__call__(pa.RecordBatch.from_pydict(values))


def test_training_on_states_of_other_texts_is_refused(shapes: Catalog, tmp_path: Path, vae: str) -> None:
    encode(recipe("xs", tmp_path))
    with pytest.raises(TrainingError, match=r"text_minilm_6 .* from label, .* needs it by .* from title"):
        train(recipe("xs", tmp_path, "--data.text", "[title]"))


def test_a_vae_that_is_not_there_is_named(shapes: Catalog, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match=r"empty is not a VAE's folder: it has no config\.json"):
        encode(recipe("xs", tmp_path, "--vae", str(tmp_path / "empty")))


def test_an_image_size_that_the_vae_cannot_divide_is_named(vae: str) -> None:
    with pytest.raises(ModelError, match="18 is not a multiple of the VAE's downsampling factor 4"):
        LatentStage(vae, 18)


def set_text(catalog: Catalog, column: str, value: str, where: str) -> None:
    """As a user might, with Lance's own means."""
    catalog.open(catalog.uri).dataset.update({column: value}, where=where)


@pytest.mark.slow
def test_states_of_a_text_that_has_changed_stop_training_and_only_they_are_made_anew(
    shapes: Catalog, tmp_path: Path, vae: str
) -> None:
    encode(recipe("xs", tmp_path))
    before = column(Catalog.open(shapes.uri), "text_minilm_6")
    changed = "label IS NOT NULL AND title LIKE 'red%'"
    count = shapes.count(changed)
    assert 0 < count < 12
    set_text(shapes, "label", "'a ' || label", changed)
    with pytest.raises(
        TrainingError,
        match=rf"text_minilm_6 of .* is out of date: the text has changed in {count} rows.*commoncanvas encode ",
    ):
        train(recipe("xs", tmp_path))
    assert encode(recipe("xs", tmp_path))["text_minilm_6"].rows == count
    after = column(Catalog.open(shapes.uri), "text_minilm_6")
    assert (before != after).reshape(12, -1).any(1).sum() == count
    assert encode(recipe("xs", tmp_path))["text_minilm_6"].rows == 0
    train(recipe("xs", tmp_path))


@pytest.mark.slow
def test_a_text_that_is_gone_takes_its_row_out_of_training(shapes: Catalog, tmp_path: Path, vae: str) -> None:
    encode(recipe("xs", tmp_path))
    set_text(shapes, "label", "NULL", "title LIKE 'red%'")
    folder = train(recipe("xs", tmp_path))
    rows = read_provenance(folder)["rows"]
    assert rows["train"] + rows["heldout"] == shapes.open(shapes.uri).count("label IS NOT NULL") < 12


@pytest.mark.slow
def test_a_text_column_that_comes_later_needs_no_overwriting(
    shapes: Catalog, tmp_path: Path, vae: str
) -> None:
    encode(recipe("xs", tmp_path))
    shapes.refresh()
    shapes.dataset.add_columns({"caption": "nullif(title, label)"})
    assert encode(recipe("xs", tmp_path))["text_minilm_6"].rows == 12
    train(recipe("xs", tmp_path))


MIX = ("--data.text", "{label: 1, title: 3}")


def test_texts_are_drawn_by_their_shares_for_each_image_and_epoch(
    shapes: Catalog, tmp_path: Path, vae: str
) -> None:
    set_text(shapes, "label", "'a ' || label", "label IS NOT NULL")
    made = encode(recipe("xs", tmp_path, *MIX))
    assert made["text_minilm_6_label"].rows == 12 and made["text_minilm_6_title"].rows == 24
    task = make_task(recipe("xs", tmp_path, *MIX))
    ids = task.rows.table.filter(pc.field("text_column") == "label")["row_id"].to_numpy()
    table = task.rows.catalogs[0].take(ids, list(task.columns))
    of = {name: states(table[f"text_minilm_6_{name}"], (6, 384)) for name in ("label", "title")}
    drawn = {"label": 0, "title": 0}
    for seed in range(200):
        draws = epoch_draws(seed, 0, len(ids))
        batch = task.batch(table, draws)["text"]
        for number in range(len(ids)):
            drawn["label" if torch.equal(batch[number], of["label"][number]) else "title"] += 1
    share = drawn["label"] / sum(drawn.values())
    assert abs(share - 0.25) < 4 * (0.25 * 0.75 / sum(drawn.values())) ** 0.5
    assert (epoch_draws(1, 0, 24) != epoch_draws(1, 1, 24)).all()

    # One that is not set is not drawn; in a row that has the other, that one is.
    set_text(shapes, "label", "NULL", "title LIKE 'red%'")
    task = make_task(recipe("xs", tmp_path, *MIX))
    reds = np.asarray(
        Catalog.open(shapes.uri).table(["title"], "title LIKE 'red%'", with_row_id=True)["_rowid"]
    )
    table = task.rows.catalogs[0].take(reds, list(task.columns))
    batch = task.batch(table, np.zeros(len(reds)))["text"]
    assert torch.equal(batch, states(table["text_minilm_6_title"], (6, 384)))


@pytest.mark.slow
def test_a_run_on_drawn_texts_resumes_to_the_same_bits_and_names_all_who_wrote_them(
    shapes: Catalog, tmp_path: Path, vae: str
) -> None:
    encode(recipe("xs", tmp_path, *MIX))
    whole = train(recipe("xs", tmp_path, *MIX))
    half = ["--out", str(tmp_path / "half"), *MIX]
    step = Trainer.train_step

    def stopping(self: Trainer, number: int, batch: Any) -> Any:
        if number == 4:
            raise KeyboardInterrupt
        return step(self, number, batch)

    with pytest.MonkeyPatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(Trainer, "train_step", stopping)
        train(recipe("xs", tmp_path, *half))
    resumed = train(recipe("xs", tmp_path, *half), resume=True)
    one, other = (load_file(next((folder / "unet").glob("*.safetensors"))) for folder in (whole, resumed))
    assert all(torch.equal(one[name], other[name]) for name in one)
    plain = make_task(recipe("xs", tmp_path, *MIX)).rows.sha256
    set_text(shapes, "title", "'a ' || title", "label IS NOT NULL")
    encode(recipe("xs", tmp_path, *MIX))
    assert make_task(recipe("xs", tmp_path, *MIX)).rows.sha256 != plain


def test_a_mix_is_trained_on_only_once_all_of_it_is_encoded(
    shapes: Catalog, tmp_path: Path, vae: str
) -> None:
    encode(recipe("xs", tmp_path))
    with pytest.raises(
        TrainingError,
        match=r"no column text_minilm_6_label, text_minilm_6_title, but it has text_minilm_6, text_minilm_6_of;",
    ):
        train(recipe("xs", tmp_path, *MIX))


@pytest.mark.slow
def test_fp8_mirror_images_and_deviations_are_trained_on(shapes: Catalog, tmp_path: Path, vae: str) -> None:
    stored = ["--encode.storage", "fp8", "--encode.flipped", "true", "--encode.posterior", "mean_std"]
    encode(recipe("xs", tmp_path))
    with pytest.raises(CatalogError, match=r"posterior 'mean_std'.*commoncanvas encode .*--overwrite"):
        encode(recipe("xs", tmp_path, *stored))
    encode(recipe("xs", tmp_path, *stored), overwrite=True)
    catalog = Catalog.open(shapes.uri)
    assert catalog.schema.field("text_minilm_6").type == pa.list_(pa.uint8(), 4 + 6 * 384)
    assert column_info(catalog, "latent_xs_autoencoder_16").shape == (2, 2, 8, 4, 4)
    with pytest.raises(TrainingError, match=r"was made by .* with .*fp8.* needs it by"):
        train(recipe("xs", tmp_path))
    train(recipe("xs", tmp_path, *stored))
    task = make_task(recipe("xs", tmp_path, *stored))
    table = task.rows.read("train", slice(4), list(task.columns))
    latents = task.batch(table, np.zeros(4))["latents"]
    latents = values(latents, (2, 2, 8, 4, 4))
    assert latents.shape == (4, 2, 2, 8, 4, 4)
    generator = torch.Generator().manual_seed(0)
    batch = task.batch(table, np.zeros(4))
    drawn = torch.stack(
        [task.codec.latents(batch | task.random_inputs(4, batch, generator, HALFWAY)) for _ in range(400)]
    )
    drawn = drawn / task.vae.config.scaling_factor
    mean, deviation = latents[:, :, 0].float(), latents[:, :, 1].float()
    expected = mean.mean(1)
    spread = (deviation.square().mean(1) + mean.var(1, unbiased=False)).sqrt()
    assert ((drawn.mean(0) - expected).abs() < 5 * spread / 20 + 1e-4).all()


@pytest.mark.slow
def test_the_command_takes_the_catalog_by_its_own_option(shapes: Catalog, tmp_path: Path, vae: str) -> None:
    command = [sys.executable, "-m", "commoncanvas", "encode", "xs", "--catalog", shapes.uri, "--json"]
    words = [
        "--vae",
        vae,
        "--size",
        "16",
        "--text_length",
        "6",
        "--data.filter",
        "null",
        "--encode.batch_size",
        "4",
    ]
    done = subprocess.run([*command, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["columns"][0]["rows"] == 24


@pytest.mark.slow
def test_a_stored_image_that_is_broken_costs_its_row_and_is_named(
    shapes: Catalog, tmp_path: Path, vae: str, capsys: pytest.CaptureFixture[str]
) -> None:
    shapes.dataset.update({"image": "X'ffd8ff00'"}, where="image_id = 'shapes:03'")
    report = encode(recipe("xs", tmp_path))
    assert report["latent_xs_autoencoder_16"].rows == 23
    shown = " ".join(capsys.readouterr().err.split())
    assert "1 stored image can't be decoded and won't be trained on: shapes:03;" in shown
    catalog = Catalog.open(shapes.uri)
    assert catalog.count("latent_xs_autoencoder_16 IS NULL") == 1
    assert catalog.count("latent_xs_autoencoder_16_crop IS NULL") == 1
    assert encode(recipe("xs", tmp_path))["latent_xs_autoencoder_16"].rows == 0
    assert "shapes:03" not in {
        *pq.read_table(train(recipe("xs", tmp_path)) / "rows.parquet")["image_id"].to_pylist()
    }
    assert encode(recipe("xs-captioner", tmp_path))["efficientnet_lite0_2"].rows > 0


def test_image_features_get_by_with_less_memory(shapes: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = efficientnet.EfficientNetLite0.feature_map
    sizes = []

    def small(network: Any, pixels: Any) -> Any:
        sizes.append(len(pixels))
        if len(pixels) > 4:
            raise torch.OutOfMemoryError
        return whole(network, pixels)

    monkeypatch.setattr(efficientnet.EfficientNetLite0, "feature_map", small)
    stage = FeatureStage(2, batch_size=16)
    batch = shapes.table([*stage.reads]).to_batches()[0]
    made = stage(batch)
    assert sizes[:3] == [16, 8, 4]
    assert made[stage.done_column].null_count == 0
    assert stage.at_once == 4


def test_more_tokens_than_the_encoder_has_positions_are_refused_before_anything_is_computed() -> None:
    with pytest.raises(
        ModelError, match=r"minilm reads 512 tokens at most; set text_length 513 to that or less"
    ):
        TextStage("minilm", 513, ["title"])


def test_buckets_larger_than_the_image_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"encode.buckets 24 is larger than size 16; give a smaller one"):
        recipe("xs", tmp_path, "--encode.buckets", "24")
