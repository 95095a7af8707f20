"""The network of a diffusion recipe."""

from __future__ import annotations

import torch
from diffusers import ModelMixin

from commoncanvas.config import DiffusionRecipe
from commoncanvas.core.errors import RecipeError
from commoncanvas.diffusion.networks.family import Family
from commoncanvas.diffusion.networks.transformer import Transformer
from commoncanvas.diffusion.networks.unet import POOLED, UNet
from commoncanvas.training.init_weights import start
from commoncanvas.training.task import configuring


def family_of(recipe: DiffusionRecipe, text_width: int, pooled_width: int) -> Family:
    """The kind of network that the recipe names. `pooled_width`: 0 if the text encoder is not SDXL's pair.

    Raises RecipeError if the network can't use the text encoder.
    """
    encoder = f"{recipe.name}: text_encoder {recipe.text_encoder}"
    if recipe.transformer:
        if pooled_width:
            raise RecipeError(
                f"{encoder} is SDXL's pair, which a transformer does not support; give one encoder"
            )
        return Transformer(
            recipe.transformer,
            text_width,
            masked_patches=recipe.masked_patches,
            patch_mixer=recipe.patch_mixer,
        )
    family = UNet(recipe.unet, text_width, pooled_width)
    if family.is_pooled != bool(pooled_width):
        raise RecipeError(
            f"{encoder} is {'' if pooled_width else 'not '}SDXL's pair; that pair, and no other text encoder, needs "
            f"unet.addition_embed_type {POOLED}"
        )
    return family


def empty_network(recipe: DiffusionRecipe, family: Family, latent_shape: tuple[int, ...]) -> ModelMixin:
    """The network with diffusers' initial weights, on the current device. Raises RecipeError."""
    with configuring(f"{recipe.name}: {family.name} is not a configuration of {family.kind.__name__}"):
        return family.build(latent_shape)


def build_network(recipe: DiffusionRecipe, family: Family, latent_shape: tuple[int, ...]) -> ModelMixin:
    """The network, tested by one run on zeros, with new weights or those of the recipe's `init`.

    Raises RecipeError for a configuration that can't be run, or that differs from that of `init`; ModelError.
    """
    network = empty_network(recipe, family, latent_shape)
    with configuring(f"{recipe.name}: {family.name} can't be run"), torch.no_grad():
        network(torch.zeros(1, *latent_shape), **family.conditions(recipe.text_length))
    if recipe.init is None:
        family.initialise(network)
    else:
        start(network, recipe, family.name)
    return network
