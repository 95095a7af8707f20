"""Representation alignment (REPA, arXiv 2410.06940): hidden states learn to match features of the clean image.

A frozen network computes the features ahead of time.

Shapes: B images; D channels and H x W cells of the hidden map; K cells of the common grid of both maps; N patches; F
channels and G x G cells of the features.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class AlignedNetwork(nn.Module):
    """A network and its projector, which is trained with it but not exported. The projector maps the `channels` of a
    block's output to those of the features, through two layers of `width`.
    """

    def __init__(
        self, network: nn.Module, block: str, *, weight: float, width: int, channels: int, features: int
    ) -> None:
        super().__init__()
        self.network = network
        self.block = block
        self.weight = weight
        # REPA's projector (sihyun-yu/REPA, models/sit.py, build_mlp).
        self.projector = nn.Sequential(
            nn.Linear(channels, width),
            nn.SiLU(),
            nn.Linear(width, width),
            nn.SiLU(),
            nn.Linear(width, features),
        )

    def loss(self, denoising: Callable[[nn.Module], Tensor], batch: Mapping[str, Tensor]) -> Tensor:
        """The network's `denoising` loss plus the weighted distance to the batch's `features` [B, F, G, G].

        Outside of training it is the denoising loss only, which can be compared with other runs.
        """
        if not self.training:
            return denoising(self.network)
        with observed(self.network, self.block) as outputs:
            loss = denoising(self.network)
        hidden_BDHW = hidden_map(outputs[-1])
        assert hidden_BDHW is not None
        features_BFGG = batch["features"].float()
        if "mirrored" in batch:
            # An approximation: the features of the mirror image are not stored.
            mirrored_B111 = batch["mirrored"].bool()[:, None, None, None]
            features_BFGG = torch.where(mirrored_B111, features_BFGG.flip(-1), features_BFGG)
        return loss + self.weight * self.distance(hidden_BDHW, features_BFGG)

    def distance(self, hidden_BDHW: Tensor, features_BFGG: Tensor) -> Tensor:
        """Mean of 1 - cosine(projected hidden cell, feature cell) over cells and images: REPA's loss, plus one.

        The map with more cells is averaged down to the other's grid, because enlarging a map would invent cells. An
        image without features (all zeros) adds zero but counts in the mean, so that a batch's loss is the mean of its
        parts' losses.
        """
        grid = min(*hidden_BDHW.shape[2:], *features_BFGG.shape[2:])
        hidden_BKD = F.adaptive_avg_pool2d(hidden_BDHW, grid).flatten(2).transpose(1, 2)
        wanted_BKF = F.adaptive_avg_pool2d(features_BFGG, grid).flatten(2).transpose(1, 2)
        cosine_BK = F.cosine_similarity(self.projector(hidden_BKD).float(), wanted_BKF, dim=-1)
        has_features_B = features_BFGG.flatten(1).any(1)
        return ((1 - cosine_BK).mean(1) * has_features_B).mean()


def network_of(model: nn.Module) -> Any:
    """The part of a task's model that a pipeline uses."""
    return model.network if isinstance(model, AlignedNetwork) else model


@contextmanager
def observed(network: nn.Module, block: str) -> Iterator[list[object]]:
    """Collect the outputs of `block` in a list while the network runs."""
    outputs: list[object] = []
    hook = network.get_submodule(block).register_forward_hook(
        lambda module, inputs, output: outputs.append(output)
    )
    try:
        yield outputs
    finally:
        # Removed before the backward pass, which may compute activations again.
        hook.remove()


def hidden_map(output: object) -> Tensor | None:
    """A block's output as a map [B, D, H, W]; a transformer's output [B, N, D] is reshaped. None for other shapes."""
    hidden = output[0] if isinstance(output, tuple) else output
    if not isinstance(hidden, Tensor):
        return None
    if hidden.ndim == 3:
        side = math.isqrt(hidden.shape[1])
        return hidden.mT.reshape(len(hidden), -1, side, side) if side**2 == hidden.shape[1] else None
    return hidden if hidden.ndim == 4 else None
