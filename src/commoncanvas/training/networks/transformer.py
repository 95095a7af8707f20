"""The transformer of a diffusion recipe, with masked training, and its pipeline.

Masked training is MicroDiT's "deferred masking" (arXiv 2407.15811): the first blocks see all patches, the others only
the kept ones. The loss covers the kept patches. The network is diffusers' PixArt.

diffusers' PixArtAlphaPipeline loads the model folder. Besides the prompt, a call needs three arguments, which
`generate_images` sets: `max_sequence_length=pipeline.tokenizer.model_max_length`, the number of tokens in training;
`use_resolution_binning=False`, because binning has PixArt's sizes only; `clean_caption=False`.

Shapes: B images; N patches, K of them kept; D channels of a patch's state; p side of a patch; C channels and H x W
cells of the latents; L tokens of a text, E channels of their states.
"""

from __future__ import annotations

from typing import Any

import torch
from diffusers import AutoencoderKL, DDPMScheduler, PixArtAlphaPipeline, PixArtTransformer2DModel
from torch import Generator, Tensor, nn

from commoncanvas.config import DiffusionRecipe
from commoncanvas.core.errors import RecipeError
from commoncanvas.diffusion.sampling import pipeline_scheduler
from commoncanvas.models.text_encoder import PROBE, TextEncoder
from commoncanvas.training.init_weights import start
from commoncanvas.training.task import configuring

PROBES = ["", PROBE]
"""Texts for comparing a pipeline's states with those that `encode` stores."""


def transformer_config(
    recipe: DiffusionRecipe, latent_shape: tuple[int, ...], text_width: int
) -> dict[str, Any]:
    """The recipe's `transformer`, with fields derived from its latents [C, H, W] and its text states."""
    channels, side, _ = latent_shape
    given = recipe.transformer
    heads, width = given.get("num_attention_heads", 16), given.get("attention_head_dim", 72)
    derived = {
        "sample_size": side,
        "in_channels": channels,
        "out_channels": channels,
        "cross_attention_dim": heads * width,
        "caption_channels": text_width,
        # PixArt's largest model adds image sizes to the timestep; images of one size don't need this.
        "use_additional_conditions": False,
    }
    return derived | given


def build_transformer(
    recipe: DiffusionRecipe, latent_shape: tuple[int, ...], encoder: TextEncoder
) -> PixArtTransformer2DModel:
    """The transformer, tested by one run on zeros. Its weights are random, or those of the recipe's `init`.

    Raises RecipeError for a configuration that can't be run, or that differs from that of `init`; ModelError.
    """
    transformer = unstarted(recipe, latent_shape, encoder.width, encoder.pooled_width)
    with configuring(f"{recipe.name}: transformer can't be run"), torch.no_grad():
        transformer(
            torch.zeros(1, *latent_shape),
            encoder_hidden_states=torch.zeros(1, encoder.length, encoder.width),
            timestep=torch.zeros(1),
        )
    if recipe.init is not None:
        start(transformer, recipe, "transformer")
    else:
        _initialise(transformer)
    return transformer


def unstarted(
    recipe: DiffusionRecipe, latent_shape: tuple[int, ...], text_width: int, pooled_width: int
) -> PixArtTransformer2DModel:
    """The transformer with diffusers' initial weights. Raises RecipeError."""
    if pooled_width:
        raise RecipeError(
            f"{recipe.name}: text_encoder {recipe.text_encoder} is SDXL's pair, which a transformer does not support; "
            "give one encoder"
        )
    config = transformer_config(recipe, latent_shape, text_width)
    with configuring(f"{recipe.name}: transformer is not a configuration of PixArtTransformer2DModel"):
        transformer = PixArtTransformer2DModel(**config)
    layers = len(transformer.transformer_blocks)
    if recipe.masked_patches and recipe.patch_mixer >= layers:
        raise RecipeError(
            f"{recipe.name}: patch_mixer {recipe.patch_mixer} is too large: the transformer has {layers} "
            "blocks, and at least one must see only the kept patches"
        )
    return transformer


def _initialise(transformer: PixArtTransformer2DModel) -> None:
    """PixArt's initial weights (PixArt-alpha/PixArt-alpha, diffusion/model/nets/PixArt.py, initialize_weights). At
    first, text has no effect, and the prediction is zero, the target's mean.
    """
    for module in transformer.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    nn.init.xavier_uniform_(transformer.pos_embed.proj.weight.flatten(1))
    embedder, caption = transformer.adaln_single.emb.timestep_embedder, transformer.caption_projection
    for linear in (embedder.linear_1, embedder.linear_2, transformer.adaln_single.linear):
        nn.init.normal_(linear.weight, std=0.02)
    for linear in (caption.linear_1, caption.linear_2):
        nn.init.normal_(linear.weight, std=0.02)
    for zero in (transformer.proj_out, *(block.attn2.to_out[0] for block in transformer.transformer_blocks)):
        nn.init.zeros_(zero.weight)


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


def unmasked_pair(
    transformer: PixArtTransformer2DModel,
    noisy_BCHW: Tensor,
    target_BCHW: Tensor,
    ids_keep_BK: Tensor,
    mixer: int,
    **cond: Tensor,
) -> tuple[Tensor, Tensor]:
    """The prediction for the kept patches (see `predict_unmasked`), and its target, [B, K, p p, C]."""
    target_BNPC = patches(target_BCHW, transformer.config.patch_size)
    return predict_unmasked(transformer, noisy_BCHW, ids_keep_BK, mixer, **cond), take(
        target_BNPC, ids_keep_BK
    )


def patches(map_BCHW: Tensor, size: int) -> Tensor:
    """[B, C, H, W] -> [B, N, p p, C], in the order of the transformer's output."""
    batch, channels, height, width = map_BCHW.shape
    cut = map_BCHW.view(batch, channels, height // size, size, width // size, size)
    return cut.permute(0, 2, 4, 3, 5, 1).reshape(batch, -1, size * size, channels)


def take(patches_BNX: Tensor, ids_keep_BK: Tensor) -> Tensor:
    """The kept patches [B, K, ...] out of each image's patches [B, N, ...]."""
    return patches_BNX[torch.arange(len(ids_keep_BK), device=ids_keep_BK.device)[:, None], ids_keep_BK]


def build_pipeline(
    transformer: nn.Module,
    vae: AutoencoderKL,
    encoder: TextEncoder,
    training: DDPMScheduler,
    recipe: DiffusionRecipe,
) -> PixArtAlphaPipeline:
    """diffusers' PixArt pipeline."""
    return PixArtAlphaPipeline(
        tokenizer=encoder.tokenizer,
        text_encoder=encoder.encoder,
        vae=vae,
        transformer=transformer,
        scheduler=pipeline_scheduler(training, recipe.sample),
    )


def check_states(pipeline: PixArtAlphaPipeline, encoder: TextEncoder, recipe: DiffusionRecipe) -> None:
    """Raises RecipeError unless the pipeline and `encode` give the same text states, except for padding. They can
    differ because the pipeline masks padding for every text encoder, and `encode` only for some.
    """
    with configuring(f"{recipe.name}: text_encoder {recipe.text_encoder} can't be used in PixArt's pipeline"):
        states_BLE, mask_BL, _, _ = pipeline.encode_prompt(
            PROBES, do_classifier_free_guidance=False, max_sequence_length=encoder.length, device="cpu"
        )
    stored_BLE, seen_BL = encoder(PROBES), encoder.masks(PROBES)
    if not (
        torch.equal(mask_BL.bool(), seen_BL)
        and torch.allclose(states_BLE[seen_BL], stored_BLE[seen_BL], atol=1e-4)
    ):
        raise RecipeError(
            f"{recipe.name}: text_encoder {recipe.text_encoder} gives different states of {PROBE!r} in PixArt's "
            "pipeline, which masks the padding; take an encoder that always masks it, such as T5 or minilm"
        )
