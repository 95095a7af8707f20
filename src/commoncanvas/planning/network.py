"""Parameters and FLOPs of a recipe's network. It is built on the meta device, which computes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from commoncanvas.config import DiffusionRecipe
from commoncanvas.core.errors import RecipeError
from commoncanvas.planning.parts import Latents, TextStates
from commoncanvas.training.init_weights import check_network
from commoncanvas.training.task import configuring
from commoncanvas.training.tasks.network import empty_network, family_of


@dataclass(frozen=True)
class Network:
    """`flops`: for one image, of matrix products and convolutions, forward and backward; a multiply-add is two."""

    parameters: int
    flops: int


def network_of(recipe: DiffusionRecipe, latents: Latents, text: TextStates) -> Network:
    """Build the network and count one step of one image. A transformer gets only the patches that training keeps.
    `alignment` is not counted: only the catalog has its features. Raises RecipeError if it can't be built or run.
    """
    side, rest = divmod(recipe.size, latents.downsampling)
    if rest:
        raise RecipeError(
            f"{recipe.name}: size {recipe.size} is not a multiple of the VAE's downsampling factor "
            f"{latents.downsampling}"
        )
    family = family_of(recipe, text.width, text.pooled)
    shape = (latents.channels, side, side)
    with torch.device("meta"):
        network: Any = empty_network(recipe, family, shape)
    if recipe.init and Path(recipe.init).exists():
        check_network(network, recipe, family.name)
    if recipe.train.activation_checkpointing:
        network.enable_gradient_checkpointing()
    noisy = torch.zeros(1, *shape, device="meta")
    inputs = {name: drawn.to("meta") for name, drawn in family.draw(1, shape, torch.Generator()).items()}
    conditions = family.conditions(recipe.text_length, "meta")
    counter = FlopCounterMode(display=False)
    with configuring(f"{recipe.name}: {family.name} can't be run"), counter:
        predicted: Any = family.predict(network, noisy, noisy, inputs, conditions)[0]
        predicted.sum().backward()
    return Network(sum(weights.numel() for weights in network.parameters()), counter.get_total_flops())
