"""Representation alignment (REPA, arXiv 2410.06940): hidden states learn to match features of the clean image.

A frozen network computes the features ahead of time; they are a column of the catalog.

Shapes: B images; D channels and H x W cells of the hidden map; K cells of the common grid of both maps; N patches; F
channels and G x G cells of the features.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from commoncanvas.catalog import Catalog
from commoncanvas.config import AlignmentConfig, DiffusionRecipe
from commoncanvas.core.errors import RecipeError
from commoncanvas.encoding.command import agreed
from commoncanvas.encoding.states import state_type, stored
from commoncanvas.provenance.record import maker
from commoncanvas.table.columns import ColumnInfo
from commoncanvas.training.task import Batch


class Alignment:
    """The features of a recipe's `alignment`. Raises RecipeError if the column holds no features."""

    def __init__(self, recipe: DiffusionRecipe, config: AlignmentConfig, catalogs: Sequence[Catalog]) -> None:
        self.name = recipe.name
        self.config = config
        for catalog in catalogs:
            self._check(catalog)
        self.info = agreed(catalogs, config.column)
        self.part = maker("alignment", self.info)

    def _check(self, catalog: Catalog) -> None:
        name = self.config.column
        known = {field.name: info for field in catalog.schema if (info := _features(field))}
        if name not in known:
            raise RecipeError(
                f"{self.name}: alignment.column {name} of {catalog.uri} doesn't hold image features, fp16 values of "
                f"shape [channels, cells, cells]; columns that do: {', '.join(known) or 'none'}"
            )

    def read(self, table: pa.Table) -> Tensor:
        """fp16 [B, F, G, G]; zeros for rows without features."""
        column = table[self.config.column]
        features_BFGG = torch.zeros(len(column), *self.info.shape, dtype=torch.float16)
        features_BFGG[column.is_valid().to_numpy()] = stored(column.drop_null(), self.info.shape)
        return features_BFGG

    def around(self, network: nn.Module, run: Callable[[], object]) -> AlignedNetwork:
        """Add a projector to the network. `run` runs the network once, to find the size of the block's output.

        Raises RecipeError if the block does not exist, or if its output is not a map.
        """
        block = self.config.block
        names = [name for name, _ in network.named_modules() if name]
        if block not in names:
            raise RecipeError(
                f"{self.name}: alignment.block {block} is not a module of {type(network).__name__}; "
                f"its modules: {', '.join(name for name in names if name.count('.') < 2)}, and their submodules"
            )
        with observed(network, block) as outputs, torch.no_grad():
            run()
            network.eval()
            run()
            network.train()
        maps = [hidden_map(output) for output in outputs]
        hidden = maps[0] if maps else None
        # If patches are masked, only the first blocks of a transformer have maps of all patches.
        if hidden is None or maps[-1] is None or maps[-1].shape != hidden.shape:
            raise RecipeError(
                f"{self.name}: alignment.block {block} gives no map of the whole image; choose another, such as "
                "mid_block of a U-Net, or transformer_blocks.3 of a transformer; if patches are masked, choose one of "
                "the first patch_mixer blocks"
            )
        return AlignedNetwork(network, self.config, hidden.shape[1], self.info.shape[0])


class AlignedNetwork(nn.Module):
    """A network and its projector, which is trained with it but not exported."""

    def __init__(self, network: nn.Module, config: AlignmentConfig, channels: int, features: int) -> None:
        super().__init__()
        self.network = network
        self.block = config.block
        self.weight = config.weight
        # REPA's projector (sihyun-yu/REPA, models/sit.py, build_mlp).
        self.projector = nn.Sequential(
            nn.Linear(channels, config.width),
            nn.SiLU(),
            nn.Linear(config.width, config.width),
            nn.SiLU(),
            nn.Linear(config.width, features),
        )

    def loss(self, denoising: Callable[[nn.Module], Tensor], batch: Batch) -> Tensor:
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


def _features(field: pa.Field) -> ColumnInfo | None:
    """How a column was made, if it holds one feature map per row."""
    info = ColumnInfo.of(field)
    if info is None or len(info.shape) != 3 or info.shape[1] != info.shape[2]:
        return None
    return info if field.type.equals(state_type(info.shape, "fp16")) else None
