"""The interface of all kinds of networks.

Shapes: B samples, L tokens, E channels of their states, P channels of a pooled state, C channels, H and W cells of the
latents.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from diffusers import DiffusionPipeline, ModelMixin
from torch import Generator, Tensor, nn

from commoncanvas.models.text_encoder import TextEncoder


class Family(ABC):
    """One kind of network. `fields`: its configuration; `text_width`: E; `pooled_width`: P, or 0 for none."""

    name: ClassVar[str]
    """The network's name in a pipeline."""
    kind: ClassVar[type[ModelMixin]]
    """diffusers' class of the network."""

    def __init__(self, fields: Mapping[str, Any], text_width: int, pooled_width: int) -> None:
        self.fields = fields
        self.text_width = text_width
        self.pooled_width = pooled_width

    @abstractmethod
    def config(self, latent_shape: tuple[int, ...]) -> dict[str, Any]:
        """`fields`, with those that follow from the latents [C, H, W] and the text states."""

    @abstractmethod
    def build(self, latent_shape: tuple[int, ...]) -> ModelMixin:
        """The network with diffusers' initial weights. Raises ValueError, or what diffusers raises."""

    @abstractmethod
    def initialise(self, network: Any) -> None:
        """Replace the network's weights by the initial weights of training."""

    @abstractmethod
    def pipeline(
        self, network: nn.Module, vae: Any, encoder: TextEncoder, scheduler: Any
    ) -> DiffusionPipeline:
        """diffusers' pipeline with the network."""

    def conditions(self, length: int, device: str = "cpu") -> dict[str, Any]:
        """The network's arguments for one sample with a text of `length` tokens: all zeros."""
        return {
            "timestep": torch.zeros(1, dtype=torch.long, device=device),
            "encoder_hidden_states": torch.zeros(1, length, self.text_width, device=device),
        }

    def draw(self, size: int, latent_shape: tuple[int, ...], generator: Generator) -> dict[str, Tensor]:
        """Random inputs of `size` samples for the network, besides noise and timesteps."""
        return {}

    def predict(
        self,
        network: Any,
        noisy_BCHW: Tensor,
        target_BCHW: Tensor,
        inputs: Mapping[str, Tensor],
        arguments: Mapping[str, Any],
    ) -> tuple[Tensor, Tensor]:
        """The network's prediction, and the matching part of the target. `inputs` has what `draw` returned."""
        return network(noisy_BCHW, **arguments, return_dict=False)[0], target_BCHW
