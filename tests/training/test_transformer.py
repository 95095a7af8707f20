"""The transformer: masked patches, padding, weights to start from, and the pipeline that anyone gets."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from diffusers import PixArtAlphaPipeline, PixArtTransformer2DModel
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import Tensor

from commoncanvas.catalog import Catalog
from commoncanvas.config import load_recipe
from commoncanvas.core.errors import CatalogError, RecipeError, TrainingError
from commoncanvas.diffusion.batches import Painter
from commoncanvas.diffusion.networks.transformer import draw_ids_keep, patches, predict_unmasked, take
from commoncanvas.diffusion.sampling import image_size, load_pipeline, pipeline_scheduler
from commoncanvas.encoding.command import encode
from commoncanvas.planning.network import network_of
from commoncanvas.planning.parts import Latents, TextStates
from commoncanvas.provenance.record_file import read_provenance
from commoncanvas.training.log import read_log
from commoncanvas.training.task import HALFWAY, first_batch
from commoncanvas.training.tasks.diffusion import DiffusionTask
from commoncanvas.training.tasks.make import make_task
from commoncanvas.training.trainer import train
from tests.encoding.models import electra, t5
from tests.training.tiny import recipe

SMALL = (
    *("--unet", "null", "--transformer.num_attention_heads", "2", "--transformer.attention_head_dim", "8"),
    *("--transformer.num_layers", "3", "--transformer.patch_size", "1"),
)
MASKED = (*SMALL, "--masked_patches", "0.5", "--patch_mixer", "1")


def made(folder: Path, *words: str) -> Any:
    """The tiny XS with a tiny transformer."""
    return recipe("xs", folder, *words)


def task_of(folder: Path, *words: str) -> Any:
    torch.manual_seed(3)
    return DiffusionTask(made(folder, *words), None)


def network(patch_size: int = 1) -> PixArtTransformer2DModel:
    """One with weights that differ in every part."""
    torch.manual_seed(5)
    return PixArtTransformer2DModel(
        num_attention_heads=2,
        attention_head_dim=8,
        num_layers=3,
        in_channels=4,
        out_channels=4,
        cross_attention_dim=16,
        caption_channels=12,
        sample_size=4,
        patch_size=patch_size,
        use_additional_conditions=False,
    )


def cond(size: int) -> dict[str, Tensor]:
    mask = torch.ones(size, 5).bool()
    mask[0, 2:] = False
    return {
        "timestep": torch.linspace(0, 999, size),
        "encoder_hidden_states": torch.randn(size, 5, 12),
        "encoder_attention_mask": mask,
    }


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("patch_size", [1, 2])
def test_with_all_patches_kept_it_says_what_the_networks_own_forward_says(
    patch_size: int, checkpointing: bool
) -> None:
    transformer = network(patch_size).train()
    if checkpointing:
        transformer.enable_gradient_checkpointing()
    noisy, conditions = torch.randn(3, 4, 4, 4), cond(3)
    whole = patches(transformer(noisy, **conditions, return_dict=False)[0], patch_size)
    count = (4 // patch_size) ** 2
    for order in (torch.arange(count), torch.randperm(count)):
        kept = order.expand(3, -1)
        said = predict_unmasked(transformer, noisy, kept, 1, **conditions)
        torch.testing.assert_close(said, take(whole, kept), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("mixer", [0, 1, 2])
def test_dropped_patches_have_no_influence_but_through_the_mixer(mixer: int) -> None:
    transformer, conditions = network(), cond(2)
    kept = torch.tensor([[0, 5, 6], [1, 2, 15]])
    noisy = torch.randn(2, 4, 4, 4, requires_grad=True)
    predict_unmasked(transformer, noisy, kept, mixer, **conditions).square().sum().backward()
    assert noisy.grad is not None
    moved = patches(noisy.grad, 1).flatten(2).abs().sum(-1) > 0
    assert take(moved, kept).all()
    assert moved.all() == (mixer > 0)
    assert moved.sum() == (32 if mixer else 6)


def test_after_the_mixer_a_block_sees_the_kept_patches_alone() -> None:
    transformer = network()
    counts: list[int] = []
    for block in transformer.transformer_blocks:
        block.register_forward_hook(lambda module, inputs, output: counts.append(output.shape[1]))
    predict_unmasked(transformer, torch.randn(1, 4, 4, 4), torch.tensor([[3, 9]]), 1, **cond(1))
    assert counts == [16, 2, 2]


@given(st.integers(1, 4), st.sampled_from([1, 2, 4]), st.floats(0, 0.99))
def test_the_share_of_patches_that_is_kept_is_drawn_for_each_image_alone(
    side: int, patch_size: int, share: float
) -> None:
    shape = (4, side * patch_size, side * patch_size)
    kept = draw_ids_keep(3, shape, patch_size, share, torch.Generator().manual_seed(2))
    assert kept.shape == (3, max(1, round(side**2 * (1 - share))))
    for row in kept.tolist():
        assert len(set(row)) == len(row) and set(row) <= set(range(side**2))


def test_the_loss_is_of_the_kept_patches_and_of_all_outside_of_training(encoded: Path) -> None:
    task = task_of(encoded, *MASKED)
    batch, model = first_batch(task, 8), task.model.train()
    assert batch["ids_keep"].shape == (8, 8)
    # The first prediction is zero: the loss is the target's mean square over the patches that count.
    target = patches(
        task.objective.target(task.codec.latents(batch), batch["noise"], batch["timesteps"]), 1
    ).square()
    torch.testing.assert_close(task.loss(model, batch), take(target, batch["ids_keep"]).mean())
    torch.testing.assert_close(task.loss(model.eval(), batch), target.mean())


@pytest.mark.parametrize("mix", [False, True])
@pytest.mark.slow
def test_it_is_told_of_a_text_what_the_pipeline_tells_it(vae: str, tmp_path: Path, mix: bool) -> None:
    words = (*SMALL, "--caption_dropout", "0.5", "--data.text", "{title: 1, label: 1}" if mix else "[title]")
    encode(made(tmp_path, *words))
    task = task_of(tmp_path, *words)
    table = task.rows.read("train", slice(8), list(task.columns))
    batch = task.batch(table, np.linspace(0, 0.99, 8))
    batch |= task.random_inputs(8, batch, torch.Generator().manual_seed(1), HALFWAY)
    conditions = task.conditioning.arguments(batch)
    # A shape has its title for a label.
    texts = [
        "" if dropped else text
        for text, dropped in zip(table["title"].to_pylist(), batch["dropped"], strict=True)
    ]
    assert 0 < texts.count("") < 8
    states, mask, _, no_mask = task.pipeline(task.model).encode_prompt(
        texts, max_sequence_length=6, device="cpu"
    )
    seen = conditions["encoder_attention_mask"]
    assert torch.equal(seen, mask.bool())
    assert not seen.all() and seen.any(1).all()
    torch.testing.assert_close(conditions["encoder_hidden_states"][seen], states[seen], atol=3e-3, rtol=3e-3)
    dropped = batch["dropped"]
    assert torch.equal(seen[dropped], no_mask.bool()[dropped])


def test_padding_has_no_influence(encoded: Path) -> None:
    task = task_of(encoded, *MASKED)
    batch, model = first_batch(task, 8), task.model.train()
    for weights in model.parameters():
        torch.nn.init.normal_(weights, std=0.1)
    loss = task.loss(model, batch)
    batch["text"] = torch.where(batch["seen"][..., None], batch["text"], 3.0)
    assert task.loss(model, batch) == loss
    batch["text"] = torch.where(batch["seen"][..., None], 3.0, batch["text"])
    assert task.loss(model, batch) != loss


def test_plain_diffusers_draws_from_the_folder_what_generate_draws(encoded: Path) -> None:
    every = ("--train.validate_every", "3", "--train.sample_every", "3")
    trained = made(encoded, *MASKED, *every, "--train.micro_batch", "3")
    folder = train(trained)
    entries = read_log(Path(f"{trained.out}-run") / "log.jsonl")
    assert any("validation_loss" in entry for entry in entries)
    assert list((encoded / "xs-run" / "samples").glob("*.png"))
    plain = PixArtAlphaPipeline.from_pretrained(folder, use_safetensors=True)
    plain.set_progress_bar_config(disable=True)
    ours = load_pipeline(str(folder))
    assert image_size(ours) == 16
    (image,) = Painter(ours).images(["a Red square"], seeds=[4], guidance_scale=3, steps=2)
    (same,) = plain(
        "a Red square",
        num_inference_steps=2,
        guidance_scale=3,
        generator=torch.Generator().manual_seed(4),
        max_sequence_length=plain.tokenizer.model_max_length,
        use_resolution_binning=False,
        clean_caption=False,
    ).images
    assert plain.tokenizer.model_max_length == 6
    assert np.array_equal(np.asarray(image), np.asarray(same))
    lines = (folder / "README.md").read_text().split("```python\n")[1].split("```")[0].splitlines()
    assert lines[-1].endswith(
        "max_sequence_length=6, use_resolution_binning=False, clean_caption=False"
        ').images[0].save("image.png")'
    )


@pytest.mark.slow
def test_a_second_phase_without_masks_starts_from_the_weights_of_the_first(encoded: Path) -> None:
    first = made(encoded, *MASKED, "--train.ema_decay", "null")
    train(first)
    still = ("--train.steps", "1", "--train.learning_rate", "1e-12", "--train.weight_decay", "0")
    second = made(
        encoded,
        *MASKED,
        *("--masked_patches", "0", "--train.ema_decay", "null", *still),
        *("--init", first.out, "--out", str(encoded / "second")),
    )
    folder = train(second)
    before, after = (
        load_file(Path(one) / "transformer" / "diffusion_pytorch_model.safetensors")
        for one in (first.out, folder)
    )
    assert all(torch.allclose(value, after[name], atol=1e-9) for name, value in before.items())
    assert any(value.abs().sum() > 0 for name, value in before.items() if "proj_out" in name)
    roles = {each["role"]: each["model"] for each in read_provenance(folder)["built_on"]}
    assert roles["init"] == first.out
    alone = made(encoded, *SMALL, "--init", str(Path(first.out) / "transformer"))
    assert DiffusionTask(alone, None).parts[2].sha256 == DiffusionTask(second, None).parts[2].sha256
    with pytest.raises(RecipeError, match="change transformer to match it"):
        DiffusionTask(made(encoded, *SMALL, "--transformer.num_layers", "2", "--init", first.out), None)


@pytest.mark.slow
def test_masks_go_with_parts_checkpointing_and_a_run_that_goes_on(encoded: Path) -> None:
    words = (*MASKED, "--train.precision", "fp32", "--train.steps", "4")
    once = made(encoded, *words)
    train(once)
    losses = [entry["loss"] for entry in read_log(Path(f"{once.out}-run") / "log.jsonl")]
    for number, more in enumerate(
        [("--train.micro_batch", "3"), ("--train.activation_checkpointing", "true")]
    ):
        again = made(encoded, *words, *more, "--out", str(encoded / f"again-{number}"))
        train(again)
        found = [entry["loss"] for entry in read_log(Path(f"{again.out}-run") / "log.jsonl")]
        assert found == pytest.approx(losses, rel=2e-5)


def test_a_block_of_the_mixer_is_aligned_and_a_later_one_refused(encoded: Path) -> None:
    encode(recipe("xs-captioner", encoded))
    aligned = ("--alignment.column", "efficientnet_lite0_2", "--alignment.width", "16")
    task = task_of(encoded, *MASKED, *aligned, "--alignment.block", "transformer_blocks.0")
    batch = first_batch(task, 8)
    task.loss(task.model.train(), batch).backward()
    assert all(weights.grad is not None for weights in task.model.parameters())
    with pytest.raises(RecipeError, match=r"transformer_blocks\.2 gives no map of the whole image"):
        task_of(encoded, *MASKED, *aligned, "--alignment.block", "transformer_blocks.2")
    task_of(encoded, *SMALL, *aligned, "--alignment.block", "transformer_blocks.2")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--transformer.heads", "3"), "transformer is not a configuration of PixArtTransformer2DModel"),
        (("--transformer.in_channels", "5"), "transformer can't be run"),
        (("--masked_patches", "0.5", "--patch_mixer", "3"), "patch_mixer 3 is too large: .* has 3 blocks"),
    ],
)
def test_what_cannot_be_trained_is_named_before_a_run(
    encoded: Path, words: tuple[str, ...], message: str
) -> None:
    with pytest.raises(RecipeError, match=message):
        train(made(encoded, *SMALL, *words))
    assert not (encoded / "xs-run").exists()


def test_with_t5_it_learns_from_the_states_of_the_exported_pipeline(
    shapes: Catalog, vae: str, tmp_path: Path
) -> None:
    shout = {"title": "'  ' || upper(title) || ' '"}
    shapes.dataset.update(shout)
    words = (*SMALL, "--text_encoder", t5(tmp_path / "t5"), "--text_length", "16", "--data.text", "[title]")
    words = (*words, "--data.heldout_text", "[title]")
    encode(made(tmp_path, *words))
    task = task_of(tmp_path, *words)
    folder = train(made(tmp_path, *words))
    plain = PixArtAlphaPipeline.from_pretrained(folder, use_safetensors=True)
    table = task.rows.read("train", slice(8), list(task.columns))
    texts = table["title"].to_pylist()
    assert all(text.startswith("  ") and text != text.lower() for text in texts)
    states, mask, _, _ = plain.encode_prompt(
        texts, do_classifier_free_guidance=False, max_sequence_length=16, device="cpu"
    )
    batch = task.batch(table, np.zeros(8))
    torch.testing.assert_close(batch["text"], states.half(), atol=2e-3, rtol=2e-3)
    assert torch.equal(batch["seen"], mask.bool())
    # To a U-Net's pipeline a prompt is as it was given: it wants other states.
    as_given = recipe("xs", tmp_path, *words[len(SMALL) :])
    with pytest.raises(TrainingError, match=r"prompts 'pixart'.*commoncanvas encode .*--overwrite"):
        DiffusionTask(as_given, None)
    with pytest.raises(
        CatalogError, match=r"prompts 'pixart'.*to replace it: commoncanvas encode .*--overwrite"
    ):
        encode(as_given)


def test_an_encoder_that_sees_padding_is_refused(encoded: Path, tmp_path: Path) -> None:
    seeing = ("--text_encoder", electra(tmp_path / "electra"), "--text_length", "16")
    encode(made(encoded, *SMALL, *seeing))
    with pytest.raises(RecipeError, match="that pipeline masks the padding"):
        train(made(encoded, *SMALL, *seeing))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--unet", "null"), "give one network, unet or transformer"),
        (("--transformer.num_layers", "3"), "give one network, unet or transformer"),
        (("--masked_patches", "0.5"), "a unet has no patches to leave out"),
        ((*SMALL, "--masked_patches", "1"), "masked_patches: input should be less than 1"),
        ((*SMALL, "--encode.buckets", "8"), "transformer takes squares only"),
    ],
)
def test_a_recipe_has_one_network(words: tuple[str, ...], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        load_recipe("xs", words)


def test_a_plan_counts_the_patches_that_are_kept() -> None:
    def plan(*words: str) -> Any:
        return network_of(load_recipe("xs-transformer", words), Latents(8, 4), TextStates(384))  # type: ignore[arg-type]

    whole, half = plan("--masked_patches", "0"), plan()
    unet = network_of(load_recipe("xs"), Latents(8, 4), TextStates(384))  # type: ignore[arg-type]
    assert half.parameters == whole.parameters == pytest.approx(unet.parameters, rel=0.05)
    # Two of seven blocks see all patches, five half of them.
    assert half.flops / whole.flops == pytest.approx((2 + 5 / 2) / 7, rel=0.05)
    assert plan("--train.activation_checkpointing", "true").flops > half.flops
    with pytest.raises(RecipeError, match="SDXL's pair, which a transformer does not support"):
        network_of(load_recipe("xs-transformer"), Latents(8, 4), TextStates(2048, 1280))  # type: ignore[arg-type]


def test_no_sampler_clips_latents_unless_the_recipe_says_so(encoded: Path) -> None:
    """Stable Diffusion's pipeline puts that right by itself, PixArt's and SDXL's don't."""
    for words, clips in (((), False), (("--noise.schedule.clip_sample", "true"), True)):
        own = made(encoded, "--sample.scheduler", "DDIMScheduler", *words)
        task = cast(DiffusionTask, make_task(own))
        sample = own.sample
        sampler = pipeline_scheduler(task.scheduler, sample.scheduler, steps=sample.steps, guidance_scale=1)
        assert sampler.config.clip_sample is clips
