"""Which images are held out, and which of the others are in a fraction. Only their ids decide."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def heldout_mask(image_ids: Sequence[str], fraction: float) -> NDArray[np.bool_]:
    """[N] True for images that are held out, about the share `fraction`: a pure function of the id.

    An image held out at one fraction is held out at every larger one, so models of separate trainings can agree.
    """
    return _draws("heldout", image_ids) < np.uint64(int(fraction * 2**64))


def fraction_mask(image_ids: Sequence[str], fraction: float, seed: int = 0) -> NDArray[np.bool_]:
    """[N] True for the `fraction_count` images with the lowest draws: a pure function of the set of ids and the seed.

    A fraction contains every smaller one of the same seed.
    """
    count = fraction_count(len(image_ids), fraction)
    mask = np.zeros(len(image_ids), dtype=np.bool_)
    if count == len(image_ids):
        return ~mask
    mask[np.argsort(_draws(f"fraction:{seed}", image_ids))[:count]] = True
    return mask


def fraction_count(images: int, fraction: float) -> int:
    """The number of images in a fraction, rounded; it may be 0."""
    return round(fraction * images)


def _draws(purpose: str, image_ids: Sequence[str]) -> NDArray[np.uint64]:
    """A number in 0..2^64-1 for each id [N]. Numbers for different purposes are independent."""
    draws = (
        int.from_bytes(hashlib.sha256(f"{purpose}:{image_id}".encode()).digest()[:8])
        for image_id in image_ids
    )
    return np.fromiter(draws, dtype=np.uint64, count=len(image_ids))
