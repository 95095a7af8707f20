"""Which images are held out, and which of the others are in a fraction. Only their ids decide."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from commoncanvas.catalog import Catalog


def heldout_mask(ids: Sequence[str], fraction: float) -> NDArray[np.bool_]:
    """[N] True for images that are held out, about the share `fraction`: a pure function of the id, which is that of
    the image or of its group (`groups_of`).

    An image held out at one fraction is held out at every larger one, so models of separate trainings can agree.
    """
    return _draws("heldout", ids) < np.uint64(int(fraction * 2**64))


def groups_of(sources: Iterable[tuple[Catalog, str | None]], expression: str) -> dict[str, str]:
    """The group of each image, by image_id: what the SQL `expression` gives for it, or else its own id.

    `sources`: catalogs, each with the SQL of its rows; an image belongs to the first that has it. Raises CatalogError.
    """
    groups: dict[str, str] = {}
    for catalog, where in sources:
        found = catalog.values(expression, where).to_pydict()
        for image_id, value in zip(found["image_id"], found["value"], strict=True):
            groups.setdefault(image_id, image_id if value is None else str(value))
    return groups


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
