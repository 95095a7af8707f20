"""Columns of latents and text states: their names, how they were made, and which text a row's states are of."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from diffusers import AutoencoderDC

from commoncanvas.config import EncodeConfig
from commoncanvas.core.errors import ModelError
from commoncanvas.encoding.crops import Size, buckets
from commoncanvas.models.text_encoder import PLAIN, TextEncoder
from commoncanvas.models.vae import VAE, downsampling, latent_side, weights_sha256
from commoncanvas.table.columns import FINGERPRINT, ColumnInfo
from commoncanvas.table.texts import first_set_sql

LATENT_SETTINGS = ("precision", "storage", "posterior", "flipped", "buckets")
TEXT_SETTINGS = ("precision", "storage")


def latent_info(vae: VAE, model: str, size: int, config: EncodeConfig) -> ColumnInfo:
    """How a column of latents is made. Raises ModelError if the VAE can't do it."""
    if config.posterior == "mean_std" and isinstance(vae, AutoencoderDC):
        raise ModelError(
            f"VAE {model} is an AutoencoderDC, which has no standard deviation; set encode.posterior to mean"
        )
    sizes_of(vae, size, config)
    return ColumnInfo(
        weights_sha256(vae),
        (("image", None),),
        stored_shape(vae.config.latent_channels, downsampling(vae), size, config),
        model,
        settings=_settings(config, LATENT_SETTINGS),
    )


def stored_shape(channels: int, factor: int, size: int, config: EncodeConfig) -> tuple[int, ...]:
    """The shape of a row's latents: [(2: mirror image,) (2: mean, deviation,) C, H, W]. With several sizes, the last
    three are one, as long as the largest needs. `factor`: pixels a side of a latent cell.
    """
    leading = (2,) * (config.flipped + (config.posterior == "mean_std"))
    sizes = () if config.buckets is None else buckets(size, config.buckets)
    if len(sizes) > 1:
        return (*leading, channels * max(one.height * one.width for one in sizes) // factor**2)
    return (*leading, channels, size // factor, size // factor)


def text_info(
    encoder: TextEncoder, model: str, sources: Sequence[str], column: str, config: EncodeConfig
) -> ColumnInfo:
    """How a column of text states is made. The captioner is not part of it: each row has its text's fingerprint."""
    settings = _settings(config, TEXT_SETTINGS) | {FINGERPRINT: fingerprint_column(column)}
    if encoder.prompts != PLAIN:
        settings["prompts"] = encoder.prompts
    if encoder.pair:
        settings["pooled"] = encoder.pooled_width
    return ColumnInfo(
        weights_sha256(encoder.modules),
        tuple((name, None) for name in sources),
        (encoder.length, encoder.width),
        model,
        settings=settings,
    )


def _settings(config: EncodeConfig, names: Sequence[str]) -> dict[str, Any]:
    """The settings that differ from the defaults."""
    default = EncodeConfig()
    return {name: getattr(config, name) for name in names if getattr(config, name) != getattr(default, name)}


def sizes_of(vae: VAE, size: int, config: EncodeConfig) -> tuple[Size, ...]:
    """The sizes that images are cropped to. Raises ModelError if the VAE can't divide them."""
    if config.buckets is None:
        latent_side(vae, size)
        return (Size(size, size),)
    latent_side(vae, config.buckets)
    return buckets(size, config.buckets)


def stale(column: str, sources: Sequence[str]) -> str:
    """SQL of the rows whose text has changed since their states were made."""
    return f"{fingerprint_column(column)} IS DISTINCT FROM md5({first_set_sql(sources)})"


def fingerprint(text: str) -> str:
    """The MD5 of a text, equal to SQL's md5."""
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def latent_column(vae: str, size: int) -> str:
    return f"latent_{slug(vae)}_{size}"


def crop_column(latents: str) -> str:
    return f"{latents}_crop"


def text_column(encoder: str, length: int, source: str | None = None) -> str:
    """The column of text states; with `source`, of the texts of one column, which training mixes with others."""
    return f"text_{slug(encoder)}_{length}" + (f"_{source}" if source else "")


def pooled_column(text: str) -> str:
    return text.replace("text_", "pooled_", 1)


def fingerprint_column(text: str) -> str:
    return f"{text}_of"


def feature_column(grid: int) -> str:
    return f"efficientnet_lite0_{grid}"


def feature_grid(column: str) -> int | None:
    """The cells a side of a column of image features, read from its name; None for another column."""
    found = re.fullmatch(r"efficientnet_lite0_([1-7])", column)
    return int(found[1]) if found else None


def slug(model: str) -> str:
    """The last part of a path or hub id, for column names: `runs/xs-autoencoder` -> `xs_autoencoder`."""
    return re.sub(r"[^a-z0-9]+", "_", Path(model).name.lower()).strip("_")
