"""Representation alignment (REPA, arXiv 2410.06940): hidden states are drawn towards features of the clean image.

The features are a frozen network's, computed ahead of time, a column of the catalog.

Shapes: B images, D channels of the hidden map, H and W its cells, K those of both maps' common grid, N patches, F
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
    """The features of a recipe's `alignment`. Raises RecipeError for a column that doesn't hold any."""

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
        """fp16 [B, F, G, G]; zeros for rows that have none."""
        column = table[self.config.column]
        features_BFGG = torch.zeros(len(column), *self.info.shape, dtype=torch.float16)
        features_BFGG[column.is_valid().to_numpy()] = stored(column.drop_null(), self.info.shape)
        return features_BFGG

    def around(self, network: nn.Module, run: Callable[[], object]) -> AlignedNetwork:
        """The network with a projector, as wide as the block's output is where `run` runs the network once.

        Raises RecipeError for a block that isn't there, or whose output is no map.
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
        # A transformer trained on a part of its patches has maps of all of them in its first blocks only.
        if hidden is None or maps[-1] is None or maps[-1].shape != hidden.shape:
            raise RecipeError(
                f"{self.name}: alignment.block {block} gives no map of the whole image; choose another, such as "
                "mid_block of a U-Net, or transformer_blocks.3 of a transformer; if patches are masked, choose one of "
                "the first patch_mixer blocks"
            )
        return AlignedNetwork(network, self.config, hidden.shape[1], self.info.shape[0])


class AlignedNetwork(nn.Module):
    """A network, and the projector that is trained along with it and not exported."""

    def __init__(self, network: nn.Module, config: AlignmentConfig, channels: int, features: int) -> None:
        super().__init__()
        self.network = network
        self.block = config.block
        self.weight = config.weight
        # REPA's own (sihyun-yu/REPA, models/sit.py, build_mlp).
        self.projector = nn.Sequential(
            nn.Linear(channels, config.width),
            nn.SiLU(),
            nn.Linear(config.width, config.width),
            nn.SiLU(),
            nn.Linear(config.width, features),
        )

    def loss(self, denoising: Callable[[nn.Module], Tensor], batch: Batch) -> Tensor:
        """The network's `denoising` loss plus the weighted distance from the batch's `features` [B, F, G, G].

        Outside of training the denoising loss alone, which compares with that of other runs.
        """
        if not self.training:
            return denoising(self.network)
        with observed(self.network, self.block) as outputs:
            loss = denoising(self.network)
        hidden_BDHW = hidden_map(outputs[-1])
        assert hidden_BDHW is not None
        features_BFGG = batch["features"].float()
        if "mirrored" in batch:
            # Near enough to the features of the mirror image, which aren't stored.
            mirrored_B111 = batch["mirrored"].bool()[:, None, None, None]
            features_BFGG = torch.where(mirrored_B111, features_BFGG.flip(-1), features_BFGG)
        return loss + self.weight * self.distance(hidden_BDHW, features_BFGG)

    def distance(self, hidden_BDHW: Tensor, features_BFGG: Tensor) -> Tensor:
        """Mean of 1 - cosine(projected hidden cell, feature cell) over cells and images: REPA's loss, plus one.

        Whichever map has more cells is averaged down to the other's grid: to enlarge one would invent cells. An image
        without features (all zeros) adds nothing, and counts in the mean all the same, so that a batch's loss is the
        mean of its parts'.
        """
        grid = min(*hidden_BDHW.shape[2:], *features_BFGG.shape[2:])
        hidden_BKD = F.adaptive_avg_pool2d(hidden_BDHW, grid).flatten(2).transpose(1, 2)
        wanted_BKF = F.adaptive_avg_pool2d(features_BFGG, grid).flatten(2).transpose(1, 2)
        cosine_BK = F.cosine_similarity(self.projector(hidden_BKD).float(), wanted_BKF, dim=-1)
        has_features_B = features_BFGG.flatten(1).any(1)
        return ((1 - cosine_BK).mean(1) * has_features_B).mean()


def network_of(model: nn.Module) -> Any:
    """What a pipeline takes of a task's model."""
    return model.network if isinstance(model, AlignedNetwork) else model


@contextmanager
def observed(network: nn.Module, block: str) -> Iterator[list[object]]:
    """A list that is given what `block` puts out while the network runs."""
    outputs: list[object] = []
    hook = network.get_submodule(block).register_forward_hook(
        lambda module, inputs, output: outputs.append(output)
    )
    try:
        yield outputs
    finally:
        # Gone before the backward pass, in which activations may be computed again.
        hook.remove()


def hidden_map(output: object) -> Tensor | None:
    """A block's output as a map [B, D, H, W]: of a transformer's, [B, N, D], the patches row by row. None if it is
    neither.
    """
    hidden = output[0] if isinstance(output, tuple) else output
    if not isinstance(hidden, Tensor):
        return None
    if hidden.ndim == 3:
        side = math.isqrt(hidden.shape[1])
        return hidden.mT.reshape(len(hidden), -1, side, side) if side**2 == hidden.shape[1] else None
    return hidden if hidden.ndim == 4 else None


def _features(field: pa.Field) -> ColumnInfo | None:
    """How a column was made, if it holds a feature map a row."""
    info = ColumnInfo.of(field)
    if info is None or len(info.shape) != 3 or info.shape[1] != info.shape[2]:
        return None
    return info if field.type.equals(state_type(info.shape, "fp16")) else None
