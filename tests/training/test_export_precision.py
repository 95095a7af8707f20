"""Weights can be exported as halves, and are loaded as before."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from diffusers import DiffusionPipeline
from safetensors import safe_open

from commoncanvas.diffusion.sampling import load_pipeline
from commoncanvas.models.vae import load_vae
from commoncanvas.training.trainer import train
from tests.training.tiny import recipe


def types_of(folder: Path) -> set[str]:
    found = set()
    for path in folder.rglob("*.safetensors"):
        with safe_open(path, "pt") as file:
            found |= {file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118
    return found


@pytest.mark.slow
def test_exported_weights_are_halves_and_load_as_floats(encoded: Path) -> None:
    folder = train(recipe("xs", encoded, "--export_precision", "fp16"))
    assert types_of(folder) == {"F16"}
    pipeline = load_pipeline(str(folder))
    plain = DiffusionPipeline.from_pretrained(folder)
    for each in (pipeline, plain):
        assert {each.unet.dtype, each.vae.dtype, each.text_encoder.dtype} == {torch.float32}
    plain("a dot", num_inference_steps=1)


@pytest.mark.slow
def test_an_autoencoders_exported_weights_are_halves(shapes: object, tmp_path: Path) -> None:
    folder = train(recipe("xs-autoencoder", tmp_path, "--export_precision", "fp16"))
    assert types_of(folder) == {"F16"} and load_vae(str(folder)).dtype == torch.float32
