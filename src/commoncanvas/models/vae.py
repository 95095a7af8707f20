"""Frozen variational autoencoders: load them, encode images as latents, and normalise latents.

Shapes: B images, C latent channels, H and W latent cells; pixels are RGB in [-1, 1].
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TypeAlias

import diffusers
import numpy as np
import torch
from diffusers import AutoencoderDC, AutoencoderKL
from numpy.typing import NDArray
from torch import Tensor

from commoncanvas.core.errors import ModelError
from commoncanvas.models.loading import components, read_json
from commoncanvas.models.weights import load_network

VAE: TypeAlias = "AutoencoderKL | AutoencoderDC"
CLASSES = ("AutoencoderKL", "AutoencoderDC")


def load_vae(model: str) -> VAE:
    """The frozen autoencoder in a folder or of a hub id, alone or as a pipeline's `vae`. Raises ModelError."""
    folder = Path(model)
    subfolder = "vae" if "vae" in components(model, "VAE") else ""
    if folder.exists() and not (folder / subfolder / "config.json").is_file():
        raise ModelError(f"{model} is not a VAE's folder: it has no config.json; train one, or give a hub id")
    kind = read_json(model, "config.json", subfolder, what="VAE").get("_class_name", "AutoencoderKL")
    if kind not in CLASSES:
        raise ModelError(f"VAE {model} is a {kind}, which is not supported; use one of: {', '.join(CLASSES)}")
    vae: VAE = load_network(getattr(diffusers, kind), model, "VAE", subfolder=subfolder)
    vae.requires_grad_(False)
    return vae


def to_pixels(images_BHWC: Tensor) -> Tensor:
    """uint8 [B, H, W, 3] -> float32 [B, 3, H, W] in [-1, 1]."""
    return images_BHWC.permute(0, 3, 1, 2).float().contiguous() / 127.5 - 1


def to_images(pixels_BCHW: Tensor) -> NDArray[np.uint8]:
    """Pixels in [-1, 1] -> uint8 [B, H, W, 3]."""
    images = ((pixels_BCHW.float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return images.permute(0, 2, 3, 1).cpu().numpy()


@torch.no_grad()
def posterior(vae: VAE, pixels_BCHW: Tensor, deviation: bool = False) -> Tensor:
    """Pixels -> the posterior's mean [B, C, H, W], before scaling; with `deviation`, mean and standard deviation
    [B, 2, C, H, W]. AutoencoderDC has no distribution: the result is its latent.
    """
    encoded = vae.encode(pixels_BCHW)
    if isinstance(vae, AutoencoderDC):
        latent: Tensor = encoded.latent
        return latent
    gaussian = encoded.latent_dist
    if deviation:
        return torch.stack([gaussian.mean, gaussian.std], dim=1)
    mean: Tensor = gaussian.mode()
    return mean


def downsampling(vae: VAE) -> int:
    """Pixels per latent cell, along one side."""
    blocks = (
        vae.config.encoder_block_out_channels
        if isinstance(vae, AutoencoderDC)
        else vae.config.block_out_channels
    )
    factor: int = 2 ** (len(blocks) - 1)
    return factor


def latent_side(vae: VAE, size: int) -> int:
    """Latent cells along one side of a square image of `size` pixels. Raises ModelError if `size` isn't divisible."""
    factor = downsampling(vae)
    if size % factor:
        raise ModelError(f"image size {size} is not a multiple of the VAE's downsampling factor {factor}")
    return size // factor


@torch.no_grad()
def fold_normalisation(vae: AutoencoderKL, mean_C: Tensor, std_C: Tensor) -> None:
    """Give the latents of a VAE zero mean and unit variance per channel, without changing its reconstructions.

    The 1x1 convolutions before and after the latent absorb the affine map, so the result is an ordinary AutoencoderKL
    with scaling_factor 1. `quant_conv` returns mean and log-variance; scaling only shifts a log-variance.
    """
    channels = vae.config.latent_channels
    quant, post = vae.quant_conv, vae.post_quant_conv
    quant.weight[:channels] /= std_C[:, None, None, None]
    quant.bias[:channels] = (quant.bias[:channels] - mean_C) / std_C
    quant.bias[channels:] -= 2 * std_C.log()
    post.bias += post.weight[:, :, 0, 0] @ mean_C
    post.weight *= std_C[None, :, None, None]
    vae.register_to_config(scaling_factor=1.0)


def weights_sha256(folder_or_module: Path | torch.nn.Module) -> str:
    """Digest of a model's weights: of its file, or of its tensors in order of their names."""
    if isinstance(folder_or_module, Path):
        return hashlib.sha256(folder_or_module.read_bytes()).hexdigest()
    digest = hashlib.sha256()
    for name, tensor in sorted(folder_or_module.state_dict().items()):
        digest.update(name.encode())
        # As bytes, because numpy has no bfloat16.
        digest.update(tensor.detach().contiguous().cpu().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
