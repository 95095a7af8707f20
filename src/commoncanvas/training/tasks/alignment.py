"""A diffusion recipe's `alignment`: features of clean images that hidden states learn to match.

Shapes: B images; F channels and G x G cells of the features.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pyarrow as pa
import torch
from torch import Tensor, nn

from commoncanvas.catalog import Catalog
from commoncanvas.config import AlignmentConfig, DiffusionRecipe
from commoncanvas.core.errors import RecipeError
from commoncanvas.diffusion.networks.alignment import AlignedNetwork, hidden_map, observed
from commoncanvas.encoding.command import agreed
from commoncanvas.encoding.states import state_type, stored
from commoncanvas.provenance.record import maker
from commoncanvas.table.columns import ColumnInfo


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
        return AlignedNetwork(
            network,
            block,
            weight=self.config.weight,
            width=self.config.width,
            channels=hidden.shape[1],
            features=self.info.shape[0],
        )


def _features(field: pa.Field) -> ColumnInfo | None:
    """How a column was made, if it holds one feature map per row."""
    info = ColumnInfo.of(field)
    if info is None or len(info.shape) != 3 or info.shape[1] != info.shape[2]:
        return None
    return info if field.type.equals(state_type(info.shape, "fp16")) else None
