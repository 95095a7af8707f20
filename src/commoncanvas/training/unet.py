"""The U-Net of a diffusion recipe, and the pipeline that anyone gets around its weights."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    DDPMScheduler,
    ModelMixin,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from torch import Tensor, nn

from commoncanvas.config import DiffusionRecipe
from commoncanvas.diffusion.sampling import pipeline_scheduler
from commoncanvas.errors import RecipeError
from commoncanvas.latents.crops import Crop
from commoncanvas.latents.loading import components, read_json
from commoncanvas.latents.text import TextEncoder
from commoncanvas.latents.weights import load_network
from commoncanvas.text import one_line
from commoncanvas.training.task import configuring

POOLED = "text_time"
"""diffusers' `addition_embed_type` of SDXL: the pooled state, and `Crop`'s six numbers, steer every block."""


FREE = ("sample_size", "dropout", "upcast_attention")
"""Fields of a network that its weights go on with whatever they are."""


def unet_config(
    recipe: DiffusionRecipe, latent_shape: tuple[int, ...], text_width: int, pooled_width: int
) -> dict[str, Any]:
    """The recipe's `unet` with what follows from its latents [C, H, W] and its text states."""
    channels, side, _ = latent_shape
    derived: dict[str, Any] = {
        "sample_size": side,
        "in_channels": channels,
        "out_channels": channels,
        "cross_attention_dim": text_width,
    }
    if recipe.unet.get("addition_embed_type") == POOLED:
        times = recipe.unet.get("addition_time_embed_dim") or 0
        derived["projection_class_embeddings_input_dim"] = pooled_width + len(Crop._fields) * times
    return derived | recipe.unet


def build_unet(
    recipe: DiffusionRecipe, latent_shape: tuple[int, ...], encoder: TextEncoder
) -> UNet2DConditionModel:
    """The U-Net, run once on nothing; its weights are random, or those of the recipe's `init`.

    Raises RecipeError for a configuration that can't be run, or is another one than that of `init`; ModelError.
    """
    pooled = recipe.unet.get("addition_embed_type") == POOLED
    if pooled != encoder.pair:
        raise RecipeError(
            f"{recipe.name}: text_encoder {recipe.text_encoder} is {'' if encoder.pair else 'not '}SDXL's pair, whose "
            f"pooled state needs unet.addition_embed_type {POOLED}, and no other encoder has one"
        )
    config = unet_config(recipe, latent_shape, encoder.width, encoder.pooled_width)
    with configuring(f"{recipe.name}: unet is not a configuration of UNet2DConditionModel"):
        unet = UNet2DConditionModel(**config)
    with configuring(f"{recipe.name}: unet can't be run"), torch.no_grad():
        unet(
            torch.zeros(1, *latent_shape),
            torch.zeros(1).long(),
            torch.zeros(1, encoder.length, encoder.width),
            added_cond_kwargs=added(torch.zeros(1, encoder.pooled_width), torch.zeros(1, len(Crop._fields)))
            if pooled
            else None,
        )
    if recipe.init is not None:
        start(unet, recipe, "unet")
        return unet
    # The first prediction is zero, the target's mean.
    nn.init.zeros_(unet.conv_out.weight)
    nn.init.zeros_(unet.conv_out.bias)
    return unet


def added(pooled_BP: Tensor, crops_B6: Tensor) -> dict[str, Tensor]:
    """What SDXL's U-Net is told besides the text states: diffusers' `added_cond_kwargs`."""
    return {"text_embeds": pooled_BP, "time_ids": crops_B6}


def start(network: ModelMixin, recipe: DiffusionRecipe, name: str) -> None:
    """Put the weights of `recipe.init` into the network, which is its pipeline's part `name`."""
    assert recipe.init is not None
    _check_prediction(recipe, recipe.init)
    part = name if name in components(recipe.init, "init") else ""
    found = load_network(type(network), recipe.init, "init", subfolder=part)
    other = [
        f"{field} {theirs!r}"
        for field, theirs in found.config.items()
        if not field.startswith("_") and field not in FREE and not _alike(theirs, network.config.get(field))
    ]
    try:
        network.load_state_dict(found.state_dict())
        if other:
            raise RuntimeError(f"it has {', '.join(other)}")
    except RuntimeError as error:
        raise RecipeError(
            f"{recipe.name}: the network of init {recipe.init} is not that of the recipe; "
            f"give {name} its fields ({one_line(error)})"
        ) from error


def _alike(one: Any, other: Any) -> bool:
    """Whether two values of a field say the same: a list of equal ones is one of them for every block."""
    lists = [list(each) if isinstance(each, list | tuple) else None for each in (one, other)]
    if lists[0] is None and lists[1] is not None:
        return all(_alike(one, each) for each in lists[1])
    if lists[1] is None and lists[0] is not None:
        return all(_alike(each, other) for each in lists[0])
    # diffusers takes a field that is None for one that is off.
    return (one or None) == (other or None) if lists[0] is None else lists[0] == lists[1]


def _check_prediction(recipe: DiffusionRecipe, init: str) -> None:
    """Raises RecipeError if `init` is a pipeline whose network says something else than the recipe's is to learn."""
    scheduler = read_json(init, "scheduler_config.json", "scheduler")
    flow = str(scheduler.get("_class_name", "")).startswith("FlowMatch")
    theirs = scheduler.get("prediction_type", "flow_prediction" if flow else "epsilon")
    ours = recipe.noise.schedule.get("prediction_type", "epsilon")
    if scheduler and theirs != ours:
        raise RecipeError(
            f"{recipe.name}: the pipeline of init {init} is of {theirs}, and noise.schedule.prediction_type is {ours}; "
            f"set it to {theirs}, or to teach the network another give its own folder as init"
        )


def build_pipeline(
    unet: nn.Module,
    vae: AutoencoderKL,
    encoder: TextEncoder,
    training: DDPMScheduler,
    recipe: DiffusionRecipe,
) -> StableDiffusionPipeline | StableDiffusionXLPipeline:
    """diffusers' own pipeline: Stable Diffusion's, or with SDXL's pair of text encoders SDXL's."""
    scheduler = pipeline_scheduler(training, recipe.sample)
    if not encoder.pair:
        return StableDiffusionPipeline(
            vae=vae,
            text_encoder=encoder.encoder,
            tokenizer=encoder.tokenizer,
            unet=unet,
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
        unet=unet,
        scheduler=scheduler,
        # What caption dropout puts in a caption's place is the empty one, not zeros.
        force_zeros_for_empty_prompt=False,
        add_watermarker=False,
    )
