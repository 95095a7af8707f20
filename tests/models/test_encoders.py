"""The encoders of SD2, SDXL, DC-AE, T5 and Gemma: their own classes with small random weights, against diffusers."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from diffusers import (
    AutoencoderDC,
    DiffusionPipeline,
    PixArtAlphaPipeline,
    PixArtSigmaPipeline,
    SanaPipeline,
)
from diffusers.image_processor import VaeImageProcessor
from PIL import Image
from transformers import AutoTokenizer, CLIPTextModel, Gemma2Model, T5EncoderModel

from commoncanvas.config import EncodeConfig
from commoncanvas.core.errors import ModelError
from commoncanvas.encoding.crops import Crop
from commoncanvas.encoding.stages import LatentStage, TextStage, crop_column
from commoncanvas.encoding.states import states
from commoncanvas.images.image import encode_image
from commoncanvas.models.text_encoder import TextEncoder
from commoncanvas.models.vae import load_vae
from tests.encoding import models

TEXTS = ["a photo of the old tree", "two dogs", "", "red grass with a cat on the green sky and the old dog"]
SIZE = 32


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    root = tmp_path_factory.mktemp("models")
    made = {name: getattr(models, name)(root / name) for name in ("sd2", "sdxl", "t5", "gemma")}
    models.deep_vae().save_pretrained(root / "dc")
    models.vae(16, shift_factor=0.0609, use_quant_conv=False, use_post_quant_conv=False).save_pretrained(
        root / "kl16"
    )
    return made | {"dc": str(root / "dc"), "kl16": str(root / "kl16")}


@pytest.fixture(scope="module")
def pictures() -> pa.RecordBatch:
    draw = np.random.default_rng(1)
    sizes = [(SIZE, SIZE), (40, 64), (90, 50), (SIZE, SIZE), (33, 200), (64, 40), (SIZE, SIZE)]
    files = [encode_image(draw.integers(0, 256, (*size, 3), np.uint8), "png") for size in sizes]
    return pa.record_batch({"image": pa.array(files, pa.large_binary())})


def texts_batch(texts: list[str] = TEXTS) -> pa.RecordBatch:
    return pa.record_batch({"caption": texts})


def made(stage: LatentStage | TextStage, batch: pa.RecordBatch, which: int = 0) -> torch.Tensor:
    stage.setup()
    shape = stage.info.shape if which == 0 else (stage.info.settings["pooled"],)
    return states(pa.chunked_array([stage(batch).column(which)]), shape)


def test_sd2s_text_states_are_its_own_pipelines(folders: dict[str, str]) -> None:
    pipeline = DiffusionPipeline.from_pretrained(folders["sd2"], safety_checker=None)
    pipeline.tokenizer.model_max_length = 12
    mine = made(TextStage(folders["sd2"], 12, ["caption"], device="cpu"), texts_batch())
    for row, text in zip(mine, TEXTS, strict=True):
        wanted, _ = pipeline.encode_prompt(text, "cpu", 1, do_classifier_free_guidance=False)
        assert torch.equal(row, wanted[0].half())


def test_leaving_out_the_last_layer_is_the_penultimate_one_as_the_pipeline_has_it(
    folders: dict[str, str], tmp_path: Path
) -> None:
    """What diffusers' clip_skip 1 stands for: the last state but one, through the final norm."""
    whole = models.sd2(tmp_path / "whole", layers=4)
    full = CLIPTextModel.from_pretrained(whole, subfolder="text_encoder").eval()
    encoder = TextEncoder(whole, 12, skip=1)
    for text in TEXTS:
        tokens = encoder.tokenizer(
            text, padding="max_length", max_length=12, return_tensors="pt", truncation=True
        )
        with torch.no_grad():
            hidden = full(tokens.input_ids, output_hidden_states=True).hidden_states
            torch.testing.assert_close(encoder([text]), full.final_layer_norm(hidden[-2]), rtol=0, atol=1e-6)
    encoder.encoder.save_pretrained(tmp_path / "less")  # as it is exported: no more to be left out
    reloaded = CLIPTextModel.from_pretrained(tmp_path / "less").eval()
    tokens = encoder.tokenizer(
        TEXTS[:1], padding="max_length", max_length=12, truncation=True, return_tensors="pt"
    )
    torch.testing.assert_close(reloaded(tokens.input_ids)[0], encoder(TEXTS[:1]), rtol=0, atol=1e-6)
    with pytest.raises(ModelError, match="text_skip 4 needs a CLIP encoder with more than 4 layers"):
        TextEncoder(whole, 12, skip=4)
    with pytest.raises(ModelError, match="text_skip 1 needs a CLIP encoder"):
        TextEncoder(folders["t5"], 12, skip=1)


def test_sdxls_pair_gives_its_own_pipelines_states_and_pooled_state(folders: dict[str, str]) -> None:
    pipeline = DiffusionPipeline.from_pretrained(folders["sdxl"])
    for tokenizer in (pipeline.tokenizer, pipeline.tokenizer_2):
        tokenizer.model_max_length = 12
    stage = TextStage(folders["sdxl"], 12, ["caption"], device="cpu")
    mine, pooled = made(stage, texts_batch()), made(stage, texts_batch(), 2)
    assert stage.info.shape == (12, 72) and pooled.shape == (4, 24)
    assert [field.name for field in stage.writes] == ["text_sdxl_12", "text_sdxl_12_of", "pooled_sdxl_12"]
    for row, pool, text in zip(mine, pooled, TEXTS, strict=True):
        wanted, _, wanted_pool, _ = pipeline.encode_prompt(
            text, device="cpu", do_classifier_free_guidance=False
        )
        torch.testing.assert_close(row, wanted[0].half(), rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(pool, wanted_pool[0].half(), rtol=1e-3, atol=1e-3)


def test_t5_and_gemma_give_the_states_of_the_pipelines_that_use_them(folders: dict[str, str]) -> None:
    """PixArt's and Sana's pipelines, which write prompts small: so are these."""
    pixart = PixArtSigmaPipeline(
        tokenizer=AutoTokenizer.from_pretrained(folders["t5"]),
        text_encoder=T5EncoderModel.from_pretrained(folders["t5"]),
        vae=None,
        transformer=None,
        scheduler=None,
    )
    tokenizer = AutoTokenizer.from_pretrained(folders["gemma"])
    assert tokenizer.padding_side == "left"
    sana = SanaPipeline(
        tokenizer=tokenizer,
        text_encoder=Gemma2Model.from_pretrained(folders["gemma"]),
        vae=AutoencoderDC.from_pretrained(folders["dc"]),
        transformer=None,
        scheduler=None,
    )
    t5 = made(TextStage(folders["t5"], 12, ["caption"], device="cpu"), texts_batch())
    gemma = made(TextStage(folders["gemma"], 12, ["caption"], device="cpu"), texts_batch())
    for row, other, text in zip(t5, gemma, TEXTS, strict=True):
        wanted, mask, _, _ = pixart.encode_prompt(
            text, do_classifier_free_guidance=False, device="cpu", max_sequence_length=12
        )
        assert mask.sum() <= 12
        torch.testing.assert_close(row, wanted[0].half(), rtol=1e-3, atol=1e-3)
        wanted, *_ = sana.encode_prompt(
            text,
            do_classifier_free_guidance=False,
            device=torch.device("cpu"),
            max_sequence_length=12,
            complex_human_instruction=None,
        )
        torch.testing.assert_close(other, wanted[0].half(), rtol=1e-3, atol=1e-3)


def test_an_encoder_that_tells_capitals_apart_gives_the_states_of_pixarts_pipeline(
    folders: dict[str, str],
) -> None:
    texts = ["  A Photo of the OLD tree\n", "two dogs", "TWO Dogs", "", " "]
    pixart = PixArtAlphaPipeline(
        tokenizer=AutoTokenizer.from_pretrained(folders["t5"]),
        text_encoder=T5EncoderModel.from_pretrained(folders["t5"]),
        vae=None,
        transformer=None,
        scheduler=None,
    )
    wanted, mask, _, _ = pixart.encode_prompt(
        texts, do_classifier_free_guidance=False, max_sequence_length=12, device="cpu"
    )
    stage = TextStage(folders["t5"], 12, ["caption"], device="cpu", prompts="pixart")
    found = made(stage, texts_batch(texts))
    torch.testing.assert_close(found, wanted.half(), atol=2e-3, rtol=2e-3)
    assert torch.equal(stage.network.masks(texts), mask.bool())
    plain = TextStage(folders["t5"], 12, ["caption"], device="cpu")
    as_given = made(plain, texts_batch(texts))
    assert torch.equal(as_given[1], found[1]) and not torch.allclose(as_given[0], found[0], atol=0.1)
    assert plain.info.identity != stage.info.identity
    assert "prompts 'pixart'" in stage.info.made_by
    assert "prompts" not in plain.info.settings


def test_an_encoder_to_which_capitals_are_all_the_same_has_one_column_for_all_pipelines() -> None:
    plain, pixart = (
        TextStage("minilm", 8, ["caption"], device="cpu", prompts=prompts) for prompts in ("plain", "pixart")
    )
    assert plain.info.identity == pixart.info.identity


@pytest.mark.parametrize("name", ["sd2", "sdxl", "kl16", "dc"])
def test_latents_are_what_diffusers_computes_for_that_image(
    name: str, folders: dict[str, str], pictures: pa.RecordBatch
) -> None:
    mine = made(LatentStage(folders[name], SIZE, device="cpu"), pictures)
    network = load_vae(folders[name])
    processor = VaeImageProcessor(vae_scale_factor=SIZE)
    for place in (0, 3, 6):  # squares of that size: nothing is resized
        from io import BytesIO

        pixels = processor.preprocess(Image.open(BytesIO(pictures["image"][place].as_py())), SIZE, SIZE)
        with torch.no_grad():
            encoded = network.encode(pixels)
        wanted = encoded.latent if name == "dc" else encoded.latent_dist.mode()
        torch.testing.assert_close(mine[place], wanted[0].half(), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("name", ["sd2", "sdxl", "t5", "gemma"])
def test_a_text_has_the_same_states_alone_and_in_any_batch(
    name: str, precision: Any, folders: dict[str, str]
) -> None:
    config = EncodeConfig(precision=precision, batch_size=8)
    stage = TextStage(folders[name], 12, ["caption"], config, "cpu")
    stage.setup()
    many = [f"{text} {number}" for number in range(5) for text in TEXTS]
    together = stage(texts_batch(many))
    alone = pa.Table.from_batches([stage(texts_batch([text])) for text in many])
    assert pa.Table.from_batches([together]).equals(alone)
    full = made(
        TextStage(folders[name], 12, ["caption"], EncodeConfig(batch_size=8), "cpu"), texts_batch(many)
    ).float()
    near = states(pa.chunked_array([together.column(0)]), stage.info.shape).float()
    assert (near - full).abs().max() <= (0.1 if precision == "bf16" else 0) * full.abs().max()


@pytest.mark.parametrize(
    "config", [{}, {"precision": "bf16"}, {"posterior": "mean_std", "flipped": True}, {"buckets": 16}]
)
def test_an_image_has_the_same_latents_alone_and_in_any_batch(
    config: dict[str, Any], folders: dict[str, str], pictures: pa.RecordBatch
) -> None:
    stage = LatentStage(folders["sd2"], SIZE, EncodeConfig(batch_size=3, **config), "cpu")
    stage.setup()
    together = pa.Table.from_batches([stage(pictures)])
    order = [4, 2, 6, 0, 5, 1, 3]
    shuffled = stage(pictures.take(order)).take([order.index(place) for place in range(7)])
    alone = pa.Table.from_batches([stage(pictures.slice(place, 1)) for place in range(7)])
    assert together.equals(alone) and together.equals(pa.Table.from_batches([shuffled]))


def test_deviation_and_mirror_image_lie_beside_the_mean(
    folders: dict[str, str], pictures: pa.RecordBatch
) -> None:
    plain = made(LatentStage(folders["sd2"], SIZE, device="cpu"), pictures)
    config = EncodeConfig(posterior="mean_std", flipped=True)
    both = made(LatentStage(folders["sd2"], SIZE, config, "cpu"), pictures)
    assert both.shape == (7, 2, 2, 4, 4, 4)
    assert torch.equal(both[:, 0, 0], plain)
    network = load_vae(folders["sd2"])
    from io import BytesIO

    mirrored = Image.open(BytesIO(pictures["image"][3].as_py())).transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    pixels = VaeImageProcessor().preprocess(mirrored)
    with torch.no_grad():
        gaussian = network.encode(pixels).latent_dist
    torch.testing.assert_close(both[3, 1, 0], gaussian.mean[0].half(), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(both[3, 1, 1], gaussian.std[0].half(), rtol=1e-3, atol=1e-3)
    with pytest.raises(ModelError, match="has no standard deviation"):
        LatentStage(folders["dc"], SIZE, EncodeConfig(posterior="mean_std"))


def test_in_buckets_an_image_keeps_its_aspect_and_what_was_cut_is_known(
    folders: dict[str, str], pictures: pa.RecordBatch
) -> None:
    stage = LatentStage(folders["sd2"], SIZE, EncodeConfig(buckets=8), "cpu")
    stage.setup()
    batch = stage(pictures)
    column = crop_column(stage.done_column)
    assert column == "latent_sd2_32_crop" and column in batch.schema.names
    crops = [Crop(*row) for row in batch[column].to_pylist()]
    assert [(one.height, one.width) for one in crops] == [
        (32, 32), (24, 40), (40, 24), (32, 32), (16, 64), (40, 24), (32, 32)
    ]  # fmt: skip
    assert [(one.original_height, one.original_width) for one in crops[1:3]] == [(40, 64), (90, 50)]
    assert crops[0] == Crop(32, 32, 0, 0, 32, 32)
    assert crops[4].left == round((200 * 16 / 33 - 64) / 2) and crops[4].top == 0
    rows = states(pa.chunked_array([batch.column(0)]), stage.info.shape)
    network = load_vae(folders["sd2"])
    for row, one in zip(rows, crops, strict=True):
        cells = 4 * one.height * one.width // 64
        assert (row[cells:] == 0).all() and (row[:cells] != 0).any()
    from io import BytesIO

    image = Image.open(
        BytesIO(pictures["image"][1].as_py())
    )  # 40 x 64, which 24 x 38.4 is of: 24 x 40 cuts its height
    box = (0, (40 - 64 * 24 / 40) / 2, 64, (40 + 64 * 24 / 40) / 2)
    pixels = VaeImageProcessor().preprocess(image.resize((40, 24), Image.Resampling.LANCZOS, box=box))
    with torch.no_grad():
        wanted = network.encode(pixels).latent_dist.mode()[0]
    torch.testing.assert_close(
        rows[1, : wanted.numel()].view(wanted.shape), wanted.half(), rtol=1e-3, atol=1e-3
    )
    with pytest.raises(ModelError, match="image size 12 is not a multiple"):
        LatentStage(folders["sd2"], SIZE, EncodeConfig(buckets=12))


def test_too_little_memory_halves_the_batch_and_goes_on(
    folders: dict[str, str], pictures: pa.RecordBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = LatentStage(folders["sd2"], SIZE, EncodeConfig(batch_size=8), "cpu")
    stage.setup()
    expected = states(pa.chunked_array([stage(pictures).column(0)]), stage.info.shape).float()
    run, sizes = stage.network.encode, []

    def small(pixels: torch.Tensor) -> Any:
        sizes.append(len(pixels))
        if len(pixels) > 2:
            raise torch.OutOfMemoryError
        return run(pixels)

    monkeypatch.setattr(stage.network, "encode", small)
    again = states(pa.chunked_array([stage(pictures).column(0)]), stage.info.shape).float()
    assert sizes == [8, 4, 2, 2, 2, 2]
    torch.testing.assert_close(again, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.slow
def test_a_hub_id_is_loaded_as_its_folder_is(folders: dict[str, str], tmp_path: Path) -> None:
    """From the hub's cache on disk, laid out as huggingface_hub does it; no network is asked."""
    repository, commit = tmp_path / "hub" / "models--someone--tiny-sd2", "0" * 40
    shutil.copytree(folders["sd2"], repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    code = (
        "from commoncanvas.models.text_encoder import TextEncoder\n"
        "from commoncanvas.models.vae import load_vae, weights_sha256\n"
        "import sys\n"
        "for model in ('someone/tiny-sd2', sys.argv[1]):\n"
        "    print(weights_sha256(TextEncoder(model, 8).modules), weights_sha256(load_vae(model)))\n"
    )
    environment = os.environ | {"HF_HUB_CACHE": str(tmp_path / "hub"), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code, folders["sd2"]],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    hub, folder = done.stdout.splitlines()
    assert hub == folder and len(hub) == 129


def test_what_is_no_such_model_is_refused_in_one_line(folders: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"is not a VAE's folder"):
        load_vae(folders["t5"] + "/..")
    (tmp_path / "config.json").write_text('{"_class_name": "VQModel"}')
    with pytest.raises(ModelError, match=r"is a VQModel, which is not .*: AutoencoderKL, AutoencoderDC"):
        load_vae(str(tmp_path))
    with pytest.raises(ModelError, match=r"text encoder .* can't be loaded"):
        TextEncoder(str(tmp_path), 8)
    with pytest.raises(ModelError, match="is for single encoders"):
        TextEncoder(folders["sdxl"], 8, skip=1)
