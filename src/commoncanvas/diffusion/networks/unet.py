"""Stable Diffusion's U-Net, and SDXL's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from diffusers import (
    DiffusionPipeline,
    ModelMixin,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from torch import Tensor, nn

from commoncanvas.diffusion.networks.family import Family
from commoncanvas.models.text_encoder import TextEncoder

SIZES = 6
"""Numbers that SDXL's U-Net gets for the image's sizes and crop (arXiv 2307.01952, section 2.2)."""
POOLED = "text_time"
"""`addition_embed_type` of a U-Net that gets the pooled text state and these sizes."""


class UNet(Family):
    """A U-Net. SDXL's, if its fields have `addition_embed_type: text_time`, also gets pooled states and sizes."""

    name = "unet"
    kind = UNet2DConditionModel

    def __init__(self, fields: Mapping[str, Any], text_width: int, pooled_width: int) -> None:
        super().__init__(fields, text_width, pooled_width)
        self.is_pooled = fields.get("addition_embed_type") == POOLED

    def config(self, latent_shape: tuple[int, ...]) -> dict[str, Any]:
        channels, side, _ = latent_shape
        derived: dict[str, Any] = {
            "sample_size": side,
            "in_channels": channels,
            "out_channels": channels,
            "cross_attention_dim": self.text_width,
        }
        if self.is_pooled:
            times = self.fields.get("addition_time_embed_dim") or 0
            derived["projection_class_embeddings_input_dim"] = self.pooled_width + SIZES * times
        return derived | dict(self.fields)

    def build(self, latent_shape: tuple[int, ...]) -> ModelMixin:
        return UNet2DConditionModel(**self.config(latent_shape))

    def initialise(self, network: Any) -> None:
        # The first prediction is zero, the target's mean.
        nn.init.zeros_(network.conv_out.weight)
        nn.init.zeros_(network.conv_out.bias)

    def conditions(self, length: int, device: str = "cpu") -> dict[str, Any]:
        found = super().conditions(length, device)
        if not self.is_pooled:
            return found
        pooled_BP, sizes_B6 = (torch.zeros(1, width, device=device) for width in (self.pooled_width, SIZES))
        return found | added(pooled_BP, sizes_B6)

    def pipeline(
        self, network: nn.Module, vae: Any, encoder: TextEncoder, scheduler: Any
    ) -> DiffusionPipeline:
        """diffusers' pipeline: SDXL's if the text encoder is SDXL's pair, otherwise Stable Diffusion's."""
        if not encoder.pair:
            return StableDiffusionPipeline(
                vae=vae,
                text_encoder=encoder.encoder,
                tokenizer=encoder.tokenizer,
                unet=network,
                scheduler=scheduler,
                safety_checker=None,
                feature_extractor=None,
                requires_safety_checker=False,
            )
        first, second = encoder.encoders
        return StableDiffusionXLPipeline(
            vae=vae,
            text_encoder=first,
            text_encoder_2=second,
            tokenizer=encoder.tokenizers[0],
            tokenizer_2=encoder.tokenizers[1],
            unet=network,
            scheduler=scheduler,
            # Caption dropout replaces a caption by the empty caption, not by zeros.
            force_zeros_for_empty_prompt=False,
            add_watermarker=False,
        )


def added(pooled_BP: Tensor, sizes_B6: Tensor) -> dict[str, dict[str, Tensor]]:
    """The argument of SDXL's U-Net for the conditions besides the text states."""
    return {"added_cond_kwargs": {"text_embeds": pooled_BP, "time_ids": sizes_B6}}
