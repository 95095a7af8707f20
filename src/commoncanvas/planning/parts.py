"""The shapes that training needs of its frozen networks, from their configurations only: no weights, no hub."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from commoncanvas.config import AutoencoderRecipe, DiffusionRecipe, load_recipe
from commoncanvas.core.errors import RecipeError

T = TypeVar("T")


@dataclass(frozen=True)
class Latents:
    """Channels of a VAE's latents, and the pixels a side that one latent cell covers."""

    channels: int
    downsampling: int


@dataclass(frozen=True)
class TextStates:
    """Width of an encoder's token states, and of its pooled state (0 if training reads none)."""

    width: int
    pooled: int = 0


# Stability-AI/stablediffusion, configs/stable-diffusion/v2-inference.yaml: z_channels, ch_mult, context_dim.
# Stability AI removed its own repositories in November 2025; sd2-community has copies.
_SD2 = tuple(
    f"{owner}/stable-diffusion-{name}"
    for owner in ("sd2-community", "stabilityai")
    for name in ("2-base", "2", "2-1-base", "2-1")
)
# Stability-AI/generative-models, configs/inference/sd_xl_base.yaml: z_channels, ch_mult, context_dim, and
# adm_in_channels: 2,816, minus six numbers of 256 sinusoids each.
_SDXL = "stabilityai/stable-diffusion-xl-base-1.0"
VAES = {name: Latents(4, 8) for name in _SD2} | {
    _SDXL: Latents(4, 8),
    "stabilityai/sdxl-vae": Latents(4, 8),
    "madebyollin/sdxl-vae-fp16-fix": Latents(4, 8),  # SDXL's own VAE, finetuned: same architecture
}
ENCODERS = {name: TextStates(1024) for name in _SD2} | {_SDXL: TextStates(2048, 1280)}


def latents_of(recipe: DiffusionRecipe) -> Latents:
    """The latents of the recipe's VAE: in a folder, of a known id, or trained by a recipe of the package (`xs`).

    Raises RecipeError.
    """
    from commoncanvas.models.loading import components, read_json
    from commoncanvas.models.vae import CLASSES

    model = recipe.vae
    if not Path(model).is_dir():
        return _to_be_trained(model) or _known(recipe, "vae", model, VAES)
    config = read_json(model, "config.json", "vae" if "vae" in components(model) else "")
    blocks = config.get("encoder_block_out_channels") or config.get("block_out_channels")
    if config.get("_class_name") not in CLASSES or not blocks or "latent_channels" not in config:
        raise RecipeError(
            f"{recipe.name}: vae {model} is a folder without the config.json of an {' or '.join(CLASSES)}; "
            "give a folder that has it"
        )
    return Latents(config["latent_channels"], 2 ** (len(blocks) - 1))


def _to_be_trained(folder: str) -> Latents | None:
    """The latents of the autoencoder that a recipe of the package writes to `folder`; None if there is none."""
    try:
        recipe = load_recipe(Path(folder).name)
    except RecipeError:
        return None
    if not isinstance(recipe, AutoencoderRecipe) or recipe.out != folder:
        return None
    return Latents(recipe.vae["latent_channels"], 2 ** (len(recipe.vae["block_out_channels"]) - 1))


def text_states_of(recipe: DiffusionRecipe) -> TextStates:
    """The states of the recipe's text encoder, in a folder or of a known id. Raises RecipeError, MissingExtraError."""
    from commoncanvas.models.loading import components
    from commoncanvas.models.text_encoder import encoder_names, text_encoder_path

    model = text_encoder_path(recipe.text_encoder)
    if not Path(model).is_dir():
        return _known(recipe, "text_encoder", model, ENCODERS)
    configs = [_config(recipe, model, name) for name in encoder_names(model, components(model))]
    width = sum(config.hidden_size for config in configs)
    return TextStates(width, configs[1].projection_dim if len(configs) > 1 else 0)


def _config(recipe: DiffusionRecipe, model: str, name: str) -> Any:
    from transformers import AutoConfig

    from commoncanvas.core.text import one_line

    try:
        return AutoConfig.from_pretrained(
            model, subfolder=name, local_files_only=True, trust_remote_code=False
        ).get_text_config()
    except (OSError, ValueError, KeyError) as error:
        raise RecipeError(
            f"{recipe.name}: text_encoder {model} has no readable configuration: {one_line(error)}"
        ) from error


def _known(recipe: DiffusionRecipe, field: str, model: str, known: dict[str, T]) -> T:
    if model not in known:
        raise RecipeError(
            f"{recipe.name}: {field} {model} is not a folder here, and not one of the ids with known shapes "
            f"({', '.join(known)}); train or download it, and give its folder with --{field}"
        )
    return known[model]
