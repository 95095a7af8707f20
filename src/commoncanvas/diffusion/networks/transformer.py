"""The transformer of a diffusion recipe, with masked training, and its pipeline.

Masked training is MicroDiT's "deferred masking" (arXiv 2407.15811): the first blocks see all patches, the others only
the kept ones. The loss covers the kept patches. The network is diffusers' PixArt.

diffusers' PixArtAlphaPipeline loads the model folder. Besides the prompt, a call needs three arguments, which
`diffusion.batches` sets: `max_sequence_length=pipeline.tokenizer.model_max_length`, the number of tokens in training;
`use_resolution_binning=False`, because binning has PixArt's sizes only; `clean_caption=False`.

Shapes: B images; N patches, K of them kept; D channels of a patch's state; p side of a patch; C channels and H x W
cells of the latents; L tokens of a text, E channels of their states.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from diffusers import DiffusionPipeline, ModelMixin, PixArtAlphaPipeline, PixArtTransformer2DModel
from torch import Generator, Tensor, nn

from commoncanvas.diffusion.networks.family import Family
from commoncanvas.models.text_encoder import PROBE, TextEncoder

PROBES = ["", PROBE]
"""Texts for comparing a pipeline's states with those that `encode` stores."""


class Transformer(Family):
    """PixArt's transformer. In training it sees all patches of an image in its first `patch_mixer` blocks, and then all
    but the share `masked_patches`.
    """

    name = "transformer"
    kind = PixArtTransformer2DModel

    def __init__(
        self,
        fields: Mapping[str, Any],
        text_width: int,
        pooled_width: int = 0,
        *,
        masked_patches: float = 0.0,
        patch_mixer: int = 0,
    ) -> None:
        super().__init__(fields, text_width, pooled_width)
        self.masked_patches = masked_patches
        self.patch_mixer = patch_mixer

    def config(self, latent_shape: tuple[int, ...]) -> dict[str, Any]:
        channels, side, _ = latent_shape
        heads, width = self.fields.get("num_attention_heads", 16), self.fields.get("attention_head_dim", 72)
        derived = {
            "sample_size": side,
            "in_channels": channels,
            "out_channels": channels,
            "cross_attention_dim": heads * width,
            "caption_channels": self.text_width,
            # PixArt's largest model adds image sizes to the timestep; images of one size don't need this.
            "use_additional_conditions": False,
        }
        return derived | dict(self.fields)

    def build(self, latent_shape: tuple[int, ...]) -> ModelMixin:
        network = PixArtTransformer2DModel(**self.config(latent_shape))
        layers = len(network.transformer_blocks)
        if self.masked_patches and self.patch_mixer >= layers:
            raise ValueError(
                f"patch_mixer {self.patch_mixer} is too large: the transformer has {layers} blocks, and at least one "
                "must see only the kept patches"
            )
        return network

    def initialise(self, network: Any) -> None:
        """PixArt's initial weights (PixArt-alpha/PixArt-alpha, diffusion/model/nets/PixArt.py, initialize_weights). At
        first, text has no effect, and the prediction is zero, the target's mean.
        """
        for module in network.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        nn.init.xavier_uniform_(network.pos_embed.proj.weight.flatten(1))
        embedder, caption = network.adaln_single.emb.timestep_embedder, network.caption_projection
        for linear in (embedder.linear_1, embedder.linear_2, network.adaln_single.linear):
            nn.init.normal_(linear.weight, std=0.02)
        for linear in (caption.linear_1, caption.linear_2):
            nn.init.normal_(linear.weight, std=0.02)
        for zero in (network.proj_out, *(block.attn2.to_out[0] for block in network.transformer_blocks)):
            nn.init.zeros_(zero.weight)

    def conditions(self, length: int, device: str = "cpu") -> dict[str, Any]:
        mask_BL = torch.ones(1, length, device=device)
        return super().conditions(length, device) | {"encoder_attention_mask": mask_BL}

    def pipeline(
        self, network: nn.Module, vae: Any, encoder: TextEncoder, scheduler: Any
    ) -> DiffusionPipeline:
        """diffusers' PixArt pipeline."""
        return PixArtAlphaPipeline(
            tokenizer=encoder.tokenizer,
            text_encoder=encoder.encoder,
            vae=vae,
            transformer=network,
            scheduler=scheduler,
        )

    def draw(self, size: int, latent_shape: tuple[int, ...], generator: Generator) -> dict[str, Tensor]:
        if not self.masked_patches:
            return {}
        patch_size = self.fields.get("patch_size", 2)
        return {"ids_keep": draw_ids_keep(size, latent_shape, patch_size, self.masked_patches, generator)}

    def predict(
        self,
        network: Any,
        noisy_BCHW: Tensor,
        target_BCHW: Tensor,
        inputs: Mapping[str, Tensor],
        arguments: Mapping[str, Any],
    ) -> tuple[Tensor, Tensor]:
        # Outside of training the network sees all patches, as in sampling.
        if "ids_keep" not in inputs or not network.training:
            return super().predict(network, noisy_BCHW, target_BCHW, inputs, arguments)
        ids_keep_BK = inputs["ids_keep"]
        target_BNPC = patches(target_BCHW, network.config.patch_size)
        return (
            predict_unmasked(network, noisy_BCHW, ids_keep_BK, self.patch_mixer, **arguments),
            take(target_BNPC, ids_keep_BK),
        )


def draw_ids_keep(
    size: int, latent_shape: tuple[int, ...], patch_size: int, share: float, generator: Generator
) -> Tensor:
    """Random indices of the patches to keep if `share` of each image's patches is dropped, [size, K]."""
    patches = latent_shape[-2] * latent_shape[-1] // patch_size**2
    order_BN = torch.rand(size, patches, generator=generator, device=generator.device).argsort(1)
    return order_BN[:, : max(1, round(patches * (1 - share)))]


def predict_unmasked(
    transformer: PixArtTransformer2DModel,
    noisy_BCHW: Tensor,
    ids_keep_BK: Tensor,
    mixer: int,
    *,
    timestep: Tensor,
    encoder_hidden_states: Tensor,
    encoder_attention_mask: Tensor,
) -> Tensor:
    """The transformer's prediction for the kept patches, [B, K, p p, C]. After `mixer` blocks it sees only these.

    The steps are those of PixArtTransformer2DModel.forward. `encoder_attention_mask` [B, L]: False for padding.
    """
    states_BND = transformer.pos_embed(noisy_BCHW)
    modulation_B6D, time_BD = transformer.adaln_single(
        timestep, None, batch_size=len(states_BND), hidden_dtype=states_BND.dtype
    )
    text_BLD = transformer.caption_projection(encoder_hidden_states)
    bias_B1L = (1 - encoder_attention_mask.to(noisy_BCHW.dtype))[:, None] * -10000.0
    for number, block in enumerate(transformer.transformer_blocks):
        if number == mixer:
            states_BND = take(states_BND, ids_keep_BK)
        inputs = (states_BND, None, text_BLD, bias_B1L, modulation_B6D, None, None)
        if transformer.gradient_checkpointing and torch.is_grad_enabled():
            states_BND = transformer._gradient_checkpointing_func(block, *inputs)
        else:
            states_BND = block(*inputs)
    shift_B1D, scale_B1D = (transformer.scale_shift_table[None] + time_BD[:, None]).chunk(2, dim=1)
    states_BND = transformer.norm_out(states_BND) * (1 + scale_B1D) + shift_B1D
    predicted: Tensor = transformer.proj_out(states_BND)
    return predicted.view(*predicted.shape[:2], -1, transformer.out_channels)


def patches(map_BCHW: Tensor, size: int) -> Tensor:
    """[B, C, H, W] -> [B, N, p p, C], in the order of the transformer's output."""
    batch, channels, height, width = map_BCHW.shape
    cut = map_BCHW.view(batch, channels, height // size, size, width // size, size)
    return cut.permute(0, 2, 4, 3, 5, 1).reshape(batch, -1, size * size, channels)


def take(patches_BNX: Tensor, ids_keep_BK: Tensor) -> Tensor:
    """The kept patches [B, K, ...] out of each image's patches [B, N, ...]."""
    return patches_BNX[torch.arange(len(ids_keep_BK), device=ids_keep_BK.device)[:, None], ids_keep_BK]


def check_states(pipeline: PixArtAlphaPipeline, encoder: TextEncoder) -> None:
    """Raises ValueError unless the pipeline and `encode` give the same text states, except for padding. They can
    differ because the pipeline masks padding for every text encoder, and `encode` only for some.
    """
    states_BLE, mask_BL, _, _ = pipeline.encode_prompt(
        PROBES, do_classifier_free_guidance=False, max_sequence_length=encoder.length, device="cpu"
    )
    stored_BLE, seen_BL = encoder(PROBES), encoder.masks(PROBES)
    if not (
        torch.equal(mask_BL.bool(), seen_BL)
        and torch.allclose(states_BLE[seen_BL], stored_BLE[seen_BL], atol=1e-4)
    ):
        raise ValueError(
            f"it gives different states of {PROBE!r} there, because that pipeline masks the padding; take an encoder "
            "that always masks it, such as T5 or minilm"
        )
