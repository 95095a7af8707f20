"""EfficientNet-Lite0 feature maps of images. An image's features don't depend on its batch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from commoncanvas.models.efficientnet import EfficientNetLite0


@torch.no_grad()
def image_features(
    network: EfficientNetLite0, images: Sequence[NDArray[np.uint8]], grid: int, batch_size: int = 32
) -> Tensor:
    """Up to `batch_size` images of one size [H, W, 3] -> features [B, 1280, grid, grid] float32."""
    pixels = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)
    device = next(network.parameters()).device
    features = network.feature_map(fill(pixels, batch_size).to(device))
    return torch.nn.functional.adaptive_avg_pool2d(features, grid)[: len(images)]


def fill(tensor: Tensor, batch_size: int) -> Tensor:
    """Add zero rows at the end, up to `batch_size` rows in total.

    The shape decides which kernel runs, and so the last bits of a sum. With one shape, a row doesn't depend on its
    batch.
    """
    padding = tensor.new_zeros((batch_size - len(tensor), *tensor.shape[1:]))
    return torch.cat([tensor, padding])
