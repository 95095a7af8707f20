"""How images are looked at: as the model's own autoencoder draws them, through a feature network.

An autoencoder smooths what it draws. Features of a smoothed image are nearer to those of other smoothed images than to
those of its own original, so all images pass the autoencoder before they are compared.

Shapes: N images, H and W pixels, S pixels a side of the model's images, D features.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from commoncanvas.diffusion.sampling import image_size
from commoncanvas.encoding.columns import slug
from commoncanvas.evaluation.networks.network import FeatureNetwork
from commoncanvas.images.image import square
from commoncanvas.memorisation.copies import Pixels
from commoncanvas.models.image_features import fill
from commoncanvas.models.vae import posterior, to_images, to_pixels, weights_sha256
from commoncanvas.table.columns import ColumnInfo

PIXELS = {"cpu": 32 * 64 * 64, "cuda": 64 * 256 * 256}
"""Pixels of a batch, by type of device: small images pass the autoencoder faster together."""
MOST = 32
"""Most images of a batch."""


class View:
    """A pipeline's size and autoencoder, and a feature network."""

    def __init__(self, pipeline: Any, network: FeatureNetwork) -> None:
        self.size = image_size(pipeline)
        self.vae = pipeline.vae
        self.network = network

    @cached_property
    def vae_sha256(self) -> str:
        return weights_sha256(self.vae)

    @property
    def batch_size(self) -> int:
        """Images that pass the autoencoder together. One number for each model: it decides the last bits of a sum."""
        return max(1, min(MOST, PIXELS.get(self.vae.device.type, 0) // self.size**2))

    @cached_property
    def width(self) -> int:
        """D."""
        return int(self.network([np.zeros((self.size, self.size, 3), np.uint8)]).shape[1])

    @property
    def column(self) -> str:
        """The column with the features of stored images. Each network, autoencoder and size has its own."""
        both = hashlib.sha256(f"{self.network.sha256} {self.vae_sha256}".encode()).hexdigest()
        return f"{slug(self.network.name)}_drawn_{both[:8]}_{self.size}"

    @property
    def info(self) -> ColumnInfo:
        """How that column is made."""
        settings = {"autoencoder": self.vae_sha256, "size": self.size, "resize": self.network.resize}
        return ColumnInfo(
            self.network.sha256, (("image", None),), (self.width,), self.network.name, settings=settings
        )

    @torch.no_grad()
    def drawn(self, images: Sequence[Pixels]) -> list[Pixels]:
        """Images of any size [H, W, 3] -> the middle square [S, S, 3] of each, as the autoencoder draws it."""
        made: list[Pixels] = []
        size = self.batch_size
        for start in range(0, len(images), size):
            some = [square(np.ascontiguousarray(image), self.size) for image in images[start : start + size]]
            pixels = to_pixels(fill(torch.from_numpy(np.stack(some)), size))
            latents = posterior(self.vae, pixels.to(self.vae.device, self.vae.dtype))
            made += list(to_images(self.vae.decode(latents).sample)[: len(some)])
        return made

    def features(self, images: Sequence[Pixels]) -> NDArray[np.float32]:
        """[N, D] of images as they are."""
        if not images:
            return np.empty((0, self.width), np.float32)
        return np.asarray(self.network([np.ascontiguousarray(image) for image in images]), np.float32)
