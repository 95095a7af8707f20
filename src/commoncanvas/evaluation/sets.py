"""How the figures of a set of prompts from catalogs were measured."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from commoncanvas.evaluation.fingerprint import Fingerprint, drawn
from commoncanvas.evaluation.networks.network import FeatureNetwork
from commoncanvas.evaluation.prompts import Prompt
from commoncanvas.evaluation.scorers.scorer import ScorerInfo


def of_distances(
    prompts: Sequence[Prompt], real: str, network: FeatureNetwork, **drawing: Any
) -> Fingerprint:
    """Of figures by a feature network. `real`: the digest of the real images; `drawing`: sampler, steps and so on."""
    return drawn(
        *_images(prompts),
        resize=f"real images: centre square, {drawing['size']}, Lanczos; then all: {network.resize}",
        features=network.name,
        features_sha256=network.sha256,
        reference="the prompts' own images",
        reference_sha256=real,
        **drawing,
    )


def of_scores(prompts: Sequence[Prompt], scorer: ScorerInfo, **drawing: Any) -> Fingerprint:
    """Of figures by what scores an image with its prompt."""
    return drawn(*_images(prompts), **(scorer.mark() | drawing))


def pixels_sha256(images: NDArray[np.uint8]) -> list[str]:
    """The digest of each image [N, H, W, 3]."""
    return [hashlib.sha256(image.tobytes()).hexdigest() for image in images]


def digest(images: Sequence[str]) -> str:
    """The digest of images in order, from that of each."""
    return hashlib.sha256("".join(images).encode()).hexdigest()


def _images(prompts: Sequence[Prompt]) -> tuple[list[str], list[int]]:
    return [each.text for each in prompts], [each.seed for each in prompts]
