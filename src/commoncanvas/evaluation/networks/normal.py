"""Pixels as networks expect them. Shapes: C channels, H and W pixels."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CLIP = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
"""Mean and standard deviation of each channel, for pixels in 0..1."""


def normalised(image: NDArray[np.uint8], how: tuple[tuple[float, ...], tuple[float, ...]]) -> Tensor:
    """[H, W, 3] in 0..255 -> [3, H, W]: each channel minus its mean, by its standard deviation."""
    mean, deviation = (np.array(values, np.float32) for values in how)
    return as_channels(np.asarray((image.astype(np.float32) / 255 - mean) / deviation, np.float32))


def as_channels(image: NDArray[np.float32]) -> Tensor:
    """[H, W, 3] -> [3, H, W], a view."""
    return torch.from_numpy(image).permute(2, 0, 1)
