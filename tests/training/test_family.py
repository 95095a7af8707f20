"""The family: its networks, SDXL's pair in training, weights to start from, batches in parts, late averages."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline
from safetensors.torch import load_file

from commoncanvas.catalog import Catalog
from commoncanvas.config import DiffusionRecipe, load_recipe
from commoncanvas.core.errors import RecipeError
from commoncanvas.diffusion.networks.unet import UNet
from commoncanvas.encoding.command import encode
from commoncanvas.provenance.record_file import read_provenance
from commoncanvas.training.task import HALFWAY
from commoncanvas.training.trainer import train
from tests.encoding.models import sd2, sdxl
from tests.training.tiny import recipe, saved

SD = ("--text_length", "8", "--unet.addition_embed_type", "null")
XL = (
    *("--text_length", "8", "--unet.addition_embed_type", "text_time", "--unet.addition_time_embed_dim", "8"),
    *(
        "--unet.addition_embed_type_num_heads",
        "64",
        "--unet.down_block_types",
        "[DownBlock2D, CrossAttnDownBlock2D]",
    ),
    *("--unet.up_block_types", "[CrossAttnUpBlock2D, UpBlock2D]"),
)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "unet" / "diffusion_pytorch_model.safetensors")


def xl(folder: Path, *words: str) -> DiffusionRecipe:
    """The tiny recipe on a tiny SDXL."""
    model = str(folder / "sdxl")
    if not Path(model).exists():
        sdxl(folder / "sdxl")
    made = recipe("xs", folder, "--vae", model, "--text_encoder", model, *XL, *words)
    assert isinstance(made, DiffusionRecipe)
    return made


@pytest.mark.parametrize(
    ("name", "channels", "width", "pooled", "parameters"),
    [
        ("s-c", 4, 1024, 0, 865_910_724),
        ("s-nc", 4, 1024, 0, 865_910_724),
        ("s-c-512", 4, 1024, 0, 865_910_724),
        ("s-nc-512", 4, 1024, 0, 865_910_724),
        ("l-c", 4, 2048, 1280, 2_567_463_684),
        ("l-nc", 4, 2048, 1280, 2_567_463_684),
        ("l-c-512", 4, 2048, 1280, 2_567_463_684),
        ("l-nc-512", 4, 2048, 1280, 2_567_463_684),
        ("l-c-sd2", 4, 1024, 0, 2_391_824_644),
    ],
)
def test_the_networks_of_the_family_are_those_of_sd2_and_sdxl(
    name: str, channels: int, width: int, pooled: int, parameters: int
) -> None:
    made = load_recipe(name)
    assert isinstance(made, DiffusionRecipe)
    assert made.train.batch_size == 2048
    assert made.data.policy == ("noncommercial" if "-nc" in name else "commercial")
    side = made.size // 8
    with torch.device("meta"):
        unet = UNet(made.unet, width, pooled).build((channels, side, side))
    assert sum(parameter.numel() for parameter in unet.parameters()) == parameters


@pytest.mark.slow
def test_sdxls_pair_trains_the_network_that_its_pipeline_loads(shapes: Catalog, tmp_path: Path) -> None:
    made = xl(tmp_path)
    encode(made)
    folder = train(made)
    pipeline = StableDiffusionXLPipeline.from_pretrained(folder, use_safetensors=True)
    images = pipeline(
        ["a red square", ""],
        num_inference_steps=2,
        generator=[torch.Generator().manual_seed(seed) for seed in (1, 2)],
        output_type="pt",
    ).images
    assert images.shape == (2, 3, 16, 16)
    assert torch.isfinite(images).all()
    assert not pipeline.config.force_zeros_for_empty_prompt
    assert {each["role"] for each in read_provenance(folder)["built_on"]} == {"vae", "text_encoder"}
    # It learned from what it was told besides the text states.
    moved = weights(folder)["add_embedding.linear_1.weight"]
    assert moved.abs().sum() > 0


def test_what_sdxl_is_told_of_a_sample_is_its_crop_and_the_pooled_state_of_its_text(
    shapes: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from commoncanvas.training.tasks.diffusion import DiffusionTask

    made = xl(tmp_path, "--caption_dropout", "0.5")
    encode(made)
    task = DiffusionTask(made, None)
    table = task.rows.read("train", slice(6), list(task.columns))
    batch = task.batch(table, torch.zeros(6).double().numpy())
    assert batch["crop"].tolist() == [[32, 32, 0, 0, 16, 16]] * 6
    texts = task.rows.texts("train")[:6]
    _, pooled = task.text_encoder.encode(texts)
    assert pooled is not None
    torch.testing.assert_close(batch["pooled"].float(), pooled, atol=2e-3, rtol=2e-3)
    batch |= task.random_inputs(6, batch, torch.Generator().manual_seed(2), HALFWAY)
    told = task.conditioning.arguments(batch)
    dropped = batch["dropped"]
    assert 0 < dropped.sum() < 6
    empty_states, empty_pooled = task.text_encoder.encode([""])
    assert empty_pooled is not None
    added = told["added_cond_kwargs"]
    assert (added["text_embeds"][dropped] == empty_pooled[0]).all()
    torch.testing.assert_close(added["text_embeds"][~dropped], pooled[~dropped], atol=2e-3, rtol=2e-3)
    assert (told["encoder_hidden_states"][dropped] == empty_states[0]).all()


@pytest.mark.parametrize("pair", [True, False])
def test_a_pair_and_a_network_that_has_no_use_for_it_are_named(
    shapes: Catalog, tmp_path: Path, pair: bool
) -> None:
    if pair:
        made: Any = xl(tmp_path, "--unet.addition_embed_type", "null")
    else:
        model = sd2(tmp_path / "sd2")
        made = recipe("xs", tmp_path, "--vae", model, "--text_encoder", model, *XL)
    encode(made)
    with pytest.raises(RecipeError, match=r"addition_embed_type text_time"):
        train(made)
    assert not Path(f"{made.out}-run").exists()


@pytest.mark.slow
def test_a_run_starts_from_the_weights_of_another(shapes: Catalog, tmp_path: Path) -> None:
    model = sd2(tmp_path / "sd2")
    words = ("--vae", model, "--text_encoder", model, *SD, "--train.ema_decay", "null")
    first = recipe("xs", tmp_path, *words)
    encode(first)
    train(first)
    steps = ("--train.steps", "1", "--train.learning_rate", "1e-12", "--train.weight_decay", "0")
    second = recipe("xs", tmp_path, *words, *steps, "--init", first.out, "--out", str(tmp_path / "second"))
    folder = train(second)
    before, after = weights(Path(first.out)), weights(folder)
    assert all(torch.allclose(before[name], after[name], atol=1e-9) for name in before)
    built_on = {each["role"]: each for each in read_provenance(folder)["built_on"]}
    assert built_on["init"]["model"] == first.out
    assert built_on["init"]["origin"]["name"] == "xs"
    # A U-Net's own folder will do; one of another shape won't.
    alone = ("--init", str(Path(first.out) / "unet"), "--out", str(tmp_path / "third"))
    assert weights(train(recipe("xs", tmp_path, *words, *steps, *alone))).keys() == before.keys()
    other = recipe(
        "xs", tmp_path, *words, "--init", first.out, "--unet.layers_per_block", "2", "--out", "other"
    )
    with pytest.raises(RecipeError, match="differs from the recipe's"):
        train(other)
    # Nor one whose weights fit but are for another number of heads, or other waves of the timestep.
    for field, value in (("attention_head_dim", "16"), ("flip_sin_to_cos", "false")):
        other = recipe(
            "xs", tmp_path, *words, "--init", first.out, f"--unet.{field}", value, "--out", "other"
        )
        with pytest.raises(RecipeError, match=f"change unet to match it .it has {field} "):
            train(other)
    asked = ("--noise.schedule.prediction_type", "v_prediction", "--init")
    turned = recipe("xs", tmp_path, *words, *asked, first.out, "--out", str(tmp_path / "v"))
    with pytest.raises(
        RecipeError,
        match=r"has prediction_type epsilon, but noise\.schedule\.prediction_type is v_prediction",
    ):
        train(turned)
    train(recipe("xs", tmp_path, *words, *steps, *asked, f"{first.out}/unet", "--out", str(tmp_path / "v")))


def test_any_trained_s_loads_in_plain_diffusers(shapes: Catalog, tmp_path: Path) -> None:
    model = sd2(tmp_path / "sd2")
    made = recipe("xs", tmp_path, "--vae", model, "--text_encoder", model, *SD)
    encode(made)
    pipeline = StableDiffusionPipeline.from_pretrained(train(made), safety_checker=None)
    assert pipeline("a dot", num_inference_steps=1, output_type="pt").images.shape == (1, 3, 16, 16)


def logged(out: str) -> list[float]:
    lines = (Path(f"{out}-run") / "log.jsonl").read_text().splitlines()
    return [json.loads(line)["loss"] for line in lines]


@pytest.mark.slow
def test_a_batch_in_parts_gives_the_losses_of_the_whole(encoded: Path, tmp_path: Path) -> None:
    losses = {}
    for part in ("null", "8", "3", "1"):
        made = recipe(
            "xs",
            tmp_path,
            "--train.micro_batch",
            part,
            "--train.precision",
            "fp32",
            "--out",
            str(tmp_path / part),
        )
        train(made)
        losses[part] = logged(made.out)
    assert losses["8"] == losses["null"]
    for part in ("3", "1"):
        assert losses[part] == pytest.approx(losses["null"], rel=2e-5)


@pytest.mark.slow
def test_activations_that_are_computed_again_change_nothing(encoded: Path, tmp_path: Path) -> None:
    again = recipe(
        "xs", tmp_path, "--train.activation_checkpointing", "true", "--out", str(tmp_path / "again")
    )
    once = recipe("xs", tmp_path)
    train(once)
    train(again)
    assert logged(again.out) == pytest.approx(logged(once.out), rel=1e-4)
    encode(recipe("xs-captioner", tmp_path))
    with pytest.raises(RecipeError, match="CaptionDecoder does not support it"):
        train(recipe("xs-captioner", tmp_path, "--train.activation_checkpointing", "true"))


@pytest.mark.slow
def test_an_average_that_begins_late_is_of_the_last_steps_alone(encoded: Path, tmp_path: Path) -> None:
    every = ("--train.checkpoint_every", "5")
    plain = recipe("xs", tmp_path, "--train.ema_decay", "null", *every)
    late = recipe("xs", tmp_path, "--train.ema_start", "5", *every, "--out", str(tmp_path / "late"))
    train(plain)
    average = weights(train(late))
    fifth = saved(tmp_path / "xs-run/checkpoints/step-00000005")
    assert not any(
        name.startswith("average.") for name in saved(tmp_path / "late-run/checkpoints/step-00000005")
    )
    last = weights(tmp_path / "xs")
    # One step of the average, whose ramp gives the newest weights nine tenths.
    for name, value in average.items():
        torch.testing.assert_close(value, 0.1 * fifth[f"model.{name}"] + 0.9 * last[name])
    # From the checkpoint before its beginning it comes out the same.
    shutil.rmtree(tmp_path / "late")
    shutil.rmtree(tmp_path / "late-run/checkpoints/step-00000006")
    again = weights(train(late, resume=True))
    assert all(torch.equal(again[name], value) for name, value in average.items())
    with pytest.raises(RecipeError, match="ema_start 6 must be less than steps 6"):
        recipe("xs", tmp_path, "--train.ema_start", "6")
