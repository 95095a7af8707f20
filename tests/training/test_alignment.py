"""Representation alignment: the loss, what it leaves alone, and what is refused before a training."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import load_file
from torch import Tensor, nn

from commoncanvas.config import load_recipe
from commoncanvas.core.errors import RecipeError
from commoncanvas.diffusion.networks.alignment import AlignedNetwork, hidden_map
from commoncanvas.encoding.command import encode
from commoncanvas.provenance.record_file import read_provenance
from commoncanvas.training.log import read_log
from commoncanvas.training.task import first_batch
from commoncanvas.training.tasks.diffusion import DiffusionTask
from commoncanvas.training.trainer import train
from tests.training.tiny import recipe

TITLES = ("--data.text", "[title]", "--data.heldout_text", "[title]")
ALIGNED = (
    *TITLES,
    *("--alignment.column", "efficientnet_lite0_2", "--alignment.block", "mid_block"),
    *("--alignment.width", "32", "--alignment.weight", "2"),
)


@pytest.fixture(scope="module")
def prepared(drawn_and_trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of shapes with latents, text states, and features of the half that has labels."""
    folder = tmp_path_factory.mktemp("prepared")
    shutil.copytree(drawn_and_trained, folder, dirs_exist_ok=True)
    encode(recipe("xs-captioner", folder))
    encode(recipe("xs", folder, *TITLES))
    return folder


@pytest.fixture
def encoded(prepared: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(prepared, tmp_path / "encoded"))


def task_of(folder: Path, *words: str) -> Any:
    torch.manual_seed(3)
    return DiffusionTask(recipe("xs", folder, *ALIGNED, *words), None)


def logged(out: str) -> list[float]:
    return [entry["loss"] for entry in read_log(Path(f"{out}-run") / "log.jsonl") if "loss" in entry]


def weights(out: str) -> dict[str, Tensor]:
    return dict(load_file(Path(out) / "unet" / "diffusion_pytorch_model.safetensors"))


def bare() -> AlignedNetwork:
    """One whose projector changes nothing."""
    network = AlignedNetwork(nn.Identity(), "y", weight=0.5, width=5, channels=5, features=5)
    network.projector = nn.Sequential(nn.Identity())
    return network


@pytest.mark.parametrize(("sign", "distance"), [(1, 0), (-1, 2)])
@pytest.mark.parametrize(("hidden", "grid"), [(3, 3), (6, 3), (3, 6)])
def test_the_distance_is_of_directions_on_the_smaller_grid(
    hidden: int, grid: int, sign: int, distance: int
) -> None:
    small = torch.randn(2, 5, 3, 3)
    maps = {3: small, 6: 7 * small.repeat_interleave(2, 2).repeat_interleave(2, 3)}
    torch.testing.assert_close(
        bare().distance(sign * maps[hidden], maps[grid]), torch.tensor(float(distance)), atol=1e-5, rtol=0
    )


def test_rows_without_features_add_nothing_and_a_batch_is_the_mean_of_its_parts() -> None:
    hidden, features = torch.randn(4, 5, 3, 3), torch.randn(4, 5, 3, 3)
    features[1] = 0
    whole = bare().distance(hidden, features)
    parts = [bare().distance(hidden[place : place + 1], features[place : place + 1]) for place in range(4)]
    assert parts[1] == 0
    torch.testing.assert_close(whole, torch.stack(parts).mean())


def test_patches_are_a_map_row_by_row() -> None:
    tokens = torch.arange(12.0).view(1, 4, 3)
    made = hidden_map((tokens, "more"))
    assert made is not None
    assert made[0, :, 1, 0].tolist() == tokens[0, 2].tolist()
    assert hidden_map(torch.zeros(1, 5, 3)) is None
    assert hidden_map(torch.zeros(1, 5)) is None
    assert hidden_map("none") is None


def test_the_features_of_a_mirrored_row_are_mirrored(encoded: Path) -> None:
    task = task_of(encoded)
    seen: list[Tensor] = []
    model = task.model.train()
    model.distance = lambda hidden, features: seen.append(features) or torch.zeros(())
    features = torch.randn(2, 1280, 2, 2)
    model.loss(
        lambda network: network(
            torch.zeros(2, 8, 4, 4), torch.zeros(2), torch.zeros(2, 6, 384), return_dict=False
        )[0].mean(),
        {"features": features, "mirrored": torch.tensor([0, 1])},
    )
    assert torch.equal(seen[0][0], features[0])
    assert torch.equal(seen[0][1], features[1].flip(-1))


def test_alignment_moves_the_network_and_only_by_rows_with_features(encoded: Path) -> None:
    task = task_of(encoded)
    model, batch = task.model.train(), first_batch(task, 8)
    some = batch["features"].flatten(1).any(1)
    assert 0 < some.sum() < 8
    # The zeroed last layer's gradient alone would reach no further.
    nn.init.normal_(model.network.conv_out.weight)

    def gradients(of: nn.Module, features: Tensor) -> list[Tensor]:
        model.zero_grad()
        task.loss(of, batch | {"features": features}).backward()
        return [weights.grad.clone() for weights in model.network.parameters() if weights.grad is not None]

    plain = gradients(model.network, batch["features"])
    none = gradients(model, torch.zeros_like(batch["features"]))
    aligned = gradients(model, batch["features"])
    assert all(torch.equal(first, second) for first, second in zip(plain, none, strict=True))
    assert any(not torch.equal(first, second) for first, second in zip(plain, aligned, strict=True))
    # Outside of training the loss is the denoising loss, as of a run without.
    assert task.loss(model.eval(), batch) == task.loss(model.network.eval(), batch)


def test_the_network_is_exported_alone_and_the_features_network_is_named(encoded: Path) -> None:
    made = recipe("xs", encoded, *ALIGNED, "--train.validate_every", "3", "--train.sample_every", "3")
    folder = train(made)
    plain = recipe("xs", encoded, *TITLES, "--out", str(encoded / "plain"))
    train(plain)
    assert weights(made.out).keys() == weights(plain.out).keys()
    assert not list(folder.rglob("*projector*"))
    assert any(not torch.equal(value, weights(plain.out)[name]) for name, value in weights(made.out).items())
    pipeline = StableDiffusionPipeline.from_pretrained(folder, safety_checker=None)
    assert pipeline("a dot", num_inference_steps=1, output_type="pt").images.shape == (1, 3, 16, 16)
    record, other = read_provenance(folder), read_provenance(plain.out)
    assert [each["model"] for each in record["built_on"] if each["role"] == "alignment"] == [
        "efficientnet-lite0"
    ]
    assert record["rows"] == other["rows"]
    assert record["training"]["parameters"] == other["training"]["parameters"]
    assert list((encoded / "xs-run" / "samples").glob("*.png"))


@pytest.mark.slow
def test_an_aligned_run_goes_on_from_a_checkpoint_to_the_same_weights(encoded: Path) -> None:
    made = recipe("xs", encoded, *ALIGNED)
    train(made)
    whole, losses = weights(made.out), logged(made.out)
    shutil.rmtree(made.out)
    shutil.rmtree(Path(f"{made.out}-run") / "checkpoints" / "step-00000006")
    train(made, resume=True)
    assert logged(made.out) == losses
    again = weights(made.out)
    assert all(torch.equal(again[name], value) for name, value in whole.items())


@pytest.mark.parametrize("words", [("micro_batch", "3"), ("activation_checkpointing", "true")])
@pytest.mark.parametrize("block", ["mid_block", "mid_block.resnets.0"])
@pytest.mark.slow
def test_parts_and_activations_computed_again_change_no_loss(
    encoded: Path, words: tuple[str, str], block: str
) -> None:
    fp32 = (*ALIGNED, "--alignment.block", block, "--train.precision", "fp32", "--train.steps", "3")
    once = recipe("xs", encoded, *fp32)
    again = recipe("xs", encoded, *fp32, f"--train.{words[0]}", words[1], "--out", str(encoded / "again"))
    train(once)
    train(again)
    assert logged(again.out) == pytest.approx(logged(once.out), rel=2e-5)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--alignment.column", "nowhere"), "alignment.column nowhere .*; columns that do: .*lite0_2"),
        (("--alignment.column", "title"), "alignment.column title .* doesn't hold image features"),
        (("--alignment.column", "latent_xs_autoencoder_16_crop"), "doesn't hold image features"),
        (("--alignment.block", "middle"), "alignment.block middle is not a module .* mid_block"),
        (("--alignment.block", "time_embedding"), "alignment.block time_embedding gives no map"),
    ],
)
def test_what_cannot_be_aligned_is_named_before_a_run(
    encoded: Path, words: tuple[str, str], message: str
) -> None:
    with pytest.raises(RecipeError, match=message):
        train(recipe("xs", encoded, *ALIGNED, *words))
    assert not (encoded / "xs-run").exists()


def test_alignment_with_buckets_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"encode\.buckets keeps more of the image"):
        load_recipe("xs", [*ALIGNED, "--encode.buckets", "8"])
