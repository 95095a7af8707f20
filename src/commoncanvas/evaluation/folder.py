"""What evaluation reads from a model folder besides its networks, and the VAE's reconstructions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from commoncanvas.catalog import Catalog
from commoncanvas.core.errors import ModelError
from commoncanvas.diffusion.batches import decode_latents
from commoncanvas.models.vae import posterior, to_pixels
from commoncanvas.models.vae_scaling import scaling_of
from commoncanvas.provenance.record_file import read_provenance


def diffusion_provenance(model: str) -> dict[str, Any]:
    """The provenance.json of a text-to-image model's folder. Raises ModelError, also for another task."""
    provenance = read_provenance(model)
    if provenance["task"] != "diffusion":
        raise ModelError(
            f"{model} is a model of task {provenance['task']}; evaluate needs one of task diffusion"
        )
    return provenance


def described(catalogs: Mapping[str, Catalog]) -> dict[str, dict[str, str | int]]:
    """Where a result's images are from: `uri` and `version` of each catalog, by name."""
    return {name: {"uri": each.uri, "version": each.version} for name, each in catalogs.items()}


@torch.no_grad()
def reconstruct(pipeline: Any, images: NDArray[np.uint8], batch_size: int = 32) -> NDArray[np.uint8]:
    """Encode images [N, H, W, 3] with the VAE, and decode them with the pipeline. A perfect network would reach this
    quality, and none can be better. Raises ModelError.
    """
    vae, made = pipeline.vae, []
    scaling = scaling_of(vae, vae.config.get("_name_or_path", ""), type(pipeline).__name__)
    for start in range(0, len(images), batch_size):
        pixels = to_pixels(torch.from_numpy(images[start : start + batch_size])).to(vae.device, vae.dtype)
        decoded = decode_latents(pipeline, scaling(posterior(vae, pixels)))
        made += [np.asarray(image.convert("RGB")) for image in decoded]
    return np.stack(made)
