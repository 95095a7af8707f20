"""What training does to latents, the pipeline undoes: a network without loss draws what the VAE reconstructs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn

from commoncanvas.catalog import Catalog
from commoncanvas.core.errors import ModelError
from commoncanvas.diffusion.batches import call
from commoncanvas.encoding.command import encode
from commoncanvas.evaluation.folder import reconstruct
from commoncanvas.images.image import decode, square
from commoncanvas.models.vae import to_images, to_pixels
from commoncanvas.training.task import first_batch
from commoncanvas.training.tasks.diffusion import DiffusionTask
from commoncanvas.training.trainer import train
from tests.encoding.models import sdxl
from tests.training.test_family import XL
from tests.training.test_transformer import SMALL
from tests.training.tiny import recipe

VAES: dict[str, dict[str, Any]] = {
    "scaled": {"scaling_factor": 0.18215},
    "shifted": {"scaling_factor": 1.5305, "shift_factor": 0.6},
    "normalised": {
        "scaling_factor": 0.5,
        "latents_mean": [-1.6574, 1.886, -1.383, 2.5155],
        "latents_std": [8.4927, 5.9022, 6.5498, 5.2299],
    },
}
VAES["all"] = VAES["shifted"] | VAES["normalised"]
PIPELINES: dict[str, tuple[str, ...]] = {
    "StableDiffusionPipeline": (),
    "StableDiffusionXLPipeline": XL,
    "PixArtAlphaPipeline": SMALL,
}
COUNT = 4


def prepared(vae: str, pipeline: str, folder: Path) -> Any:
    """A recipe whose VAE's decoder minds a shift of its latents."""
    torch.manual_seed(3)
    network = AutoencoderKL(
        down_block_types=["DownEncoderBlock2D"] * 2,
        up_block_types=["UpDecoderBlock2D"] * 2,
        block_out_channels=[8, 8],
        latent_channels=4,
        norm_num_groups=4,
        sample_size=16,
        **VAES[vae],
    )
    with torch.no_grad():
        network.post_quant_conv.weight.mul_(3)
        network.decoder.conv_out.weight.mul_(3)
    network.save_pretrained(folder / "vae")
    words = [
        "--vae",
        str(folder / "vae"),
        *PIPELINES[pipeline],
        "--data.heldout_fraction",
        "0",
        "--data.text",
        "[title]",
    ]
    if pipeline == "StableDiffusionXLPipeline":
        words += ["--text_encoder", sdxl(folder / "sdxl")]
    # Ends at the image itself, not a little before it.
    return recipe("xs", folder, *words, "--sample.options", "{set_alpha_to_one: true, clip_sample: false}")


class Oracle:
    """Says the noise that was added to latents which it knows."""

    def __init__(self, task: DiffusionTask, latents_BCHW: Tensor) -> None:
        self.objective, self.latents_BCHW = task.objective, latents_BCHW

    def __call__(self, noisy_BCHW: Tensor, timestep: Any = None, *others: Any, **told: Any) -> tuple[Tensor]:
        timesteps_B = torch.as_tensor(timestep).expand(len(noisy_BCHW)).long()
        signal_B, noise_B = (each[:, None, None, None] for each in self.objective.scales(timesteps_B))
        return ((noisy_BCHW - signal_B * self.latents_BCHW) / noise_B,)


def oracle(task: DiffusionTask, latents_BCHW: Tensor) -> nn.Module:
    """The task's own network, with another `forward`."""
    network: Any = task.model.eval()
    network.forward = Oracle(task, latents_BCHW)
    return network  # type: ignore[no-any-return]


def taken_back(vae: str, pipeline: str) -> bool:
    return "latents_mean" not in VAES[vae] or pipeline == "StableDiffusionXLPipeline"


PAIRS = [(vae, pipeline) for vae in VAES for pipeline in PIPELINES]


@pytest.mark.parametrize(("vae", "pipeline"), [pair for pair in PAIRS if taken_back(*pair)])
def test_a_network_without_loss_draws_what_the_vae_reconstructs(
    vae: str, pipeline: str, shapes: Catalog, tmp_path: Path
) -> None:
    made = prepared(vae, pipeline, tmp_path)
    encode(made)
    task = DiffusionTask(made, None)
    batch = first_batch(task, COUNT)
    network = oracle(task, task.codec.latents(batch))
    assert float(task.loss(network, batch)) < 1e-9
    built = task.pipeline(network)
    assert type(built).__name__ == pipeline == made.pipeline
    built.set_progress_bar_config(disable=True)
    drawn = call(built, prompt=["a"] * COUNT, guidance_scale=1.0, num_inference_steps=10)
    rows = task.rows.read("train", np.arange(COUNT), ["image"])["image"].to_pylist()
    images = np.stack([square(decode(data), 16) for data in rows])
    with torch.no_grad():
        encoded = task.vae.encode(to_pixels(torch.from_numpy(images))).latent_dist.mode()
        wanted = to_images(task.vae.decode(encoded).sample).astype(int)
    assert wanted.std() > 10  # something is to be seen
    assert np.abs(np.stack([np.asarray(one) for one in drawn]).astype(int) - wanted).max() <= 1
    assert np.abs(reconstruct(built, images).astype(int) - wanted).max() <= 1


@pytest.mark.parametrize(("vae", "pipeline"), [pair for pair in PAIRS if not taken_back(*pair)])
def test_what_a_pipeline_does_not_take_back_is_refused_by_encode_and_train(
    vae: str, pipeline: str, shapes: Catalog, tmp_path: Path
) -> None:
    made = prepared("scaled", pipeline, tmp_path)
    encode(made)
    config = tmp_path / "vae" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | VAES[vae]))
    for run in (encode, train):
        with pytest.raises(
            ModelError, match=f"latents_mean and latents_std, which a {pipeline} doesn't undo"
        ):
            run(made)
    assert not Path(f"{made.out}-run").exists()


def test_half_of_the_statistics_is_refused_where_both_are_taken_back(shapes: Catalog, tmp_path: Path) -> None:
    made = prepared("scaled", "StableDiffusionXLPipeline", tmp_path)
    config = tmp_path / "vae" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"latents_mean": [1.0] * 4}))
    with pytest.raises(ModelError, match="has latents_mean, which"):
        encode(made)
