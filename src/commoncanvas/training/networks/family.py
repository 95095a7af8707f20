"""The kinds of networks that a diffusion recipe can train, with one interface."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from diffusers import AutoencoderKL, DDPMScheduler, DiffusionPipeline
from torch import Generator, Tensor, nn

from commoncanvas.config import DiffusionRecipe
from commoncanvas.models.text_encoder import TextEncoder
from commoncanvas.training.networks import transformer, unet
from commoncanvas.training.networks.alignment import network_of
from commoncanvas.training.task import Batch


class Family(ABC):
    """One kind of network. Shapes: B samples, C channels, H and W cells of the latents."""

    def __init__(self, recipe: DiffusionRecipe, encoder: TextEncoder) -> None:
        self.recipe = recipe
        self.encoder = encoder

    @abstractmethod
    def build(self, latent_shape: tuple[int, ...]) -> nn.Module:
        """The network with random weights, or those of the recipe's `init`. Raises RecipeError, ModelError."""

    @abstractmethod
    def pipeline(self, network: nn.Module, vae: AutoencoderKL, scheduler: DDPMScheduler) -> DiffusionPipeline:
        """diffusers' pipeline with the network."""

    def check(self, pipeline: DiffusionPipeline) -> None:
        """Raises RecipeError if the pipeline's text states would differ from those of training."""
        return

    def draw(self, model: nn.Module, size: int, shape: tuple[int, ...], generator: Generator) -> Batch:
        """Random inputs of `size` samples for the network, besides noise and timesteps."""
        return {}

    def predict(
        self,
        model: nn.Module,
        noisy_BCHW: Tensor,
        target_BCHW: Tensor,
        batch: Batch,
        arguments: dict[str, Any],
    ) -> tuple[Tensor, Tensor]:
        """The network's prediction, and the matching part of the target."""
        return model(noisy_BCHW, **arguments, return_dict=False)[0], target_BCHW


class UNet(Family):
    """Stable Diffusion's U-Net, or SDXL's if the encoders are SDXL's pair."""

    def build(self, latent_shape: tuple[int, ...]) -> nn.Module:
        network: nn.Module = unet.build_unet(self.recipe, latent_shape, self.encoder)
        return network

    def pipeline(self, network: nn.Module, vae: AutoencoderKL, scheduler: DDPMScheduler) -> DiffusionPipeline:
        return unet.build_pipeline(network, vae, self.encoder, scheduler, self.recipe)


class Transformer(Family):
    """PixArt's transformer. Training can drop a share of each image's patches (`masked_patches`)."""

    def build(self, latent_shape: tuple[int, ...]) -> nn.Module:
        network: nn.Module = transformer.build_transformer(self.recipe, latent_shape, self.encoder)
        return network

    def pipeline(self, network: nn.Module, vae: AutoencoderKL, scheduler: DDPMScheduler) -> DiffusionPipeline:
        return transformer.build_pipeline(network, vae, self.encoder, scheduler, self.recipe)

    def check(self, pipeline: DiffusionPipeline) -> None:
        transformer.check_states(pipeline, self.encoder, self.recipe)

    def draw(self, model: nn.Module, size: int, shape: tuple[int, ...], generator: Generator) -> Batch:
        if not (share := self.recipe.masked_patches):
            return {}
        patch_size = network_of(model).config.patch_size
        return {"ids_keep": transformer.draw_ids_keep(size, shape, patch_size, share, generator)}

    def predict(
        self,
        model: nn.Module,
        noisy_BCHW: Tensor,
        target_BCHW: Tensor,
        batch: Batch,
        arguments: dict[str, Any],
    ) -> tuple[Tensor, Tensor]:
        # Outside of training the network sees all patches, as in sampling.
        if "ids_keep" not in batch or not model.training:
            return super().predict(model, noisy_BCHW, target_BCHW, batch, arguments)
        mixer = self.recipe.patch_mixer
        return transformer.unmasked_pair(
            model, noisy_BCHW, target_BCHW, batch["ids_keep"], mixer, **arguments
        )


def family_of(recipe: DiffusionRecipe, encoder: TextEncoder) -> Family:
    """The kind of network that the recipe names."""
    return (Transformer if recipe.transformer else UNet)(recipe, encoder)
