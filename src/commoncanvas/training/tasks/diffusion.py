"""The diffusion task: a text-conditional network on latents and text states that were computed ahead of time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from diffusers import AutoencoderKL, DDPMScheduler, DiffusionPipeline
from numpy.typing import NDArray
from torch import Generator, Tensor, nn

from commoncanvas import licenses
from commoncanvas.catalog import Catalog
from commoncanvas.config import DiffusionRecipe
from commoncanvas.core.errors import RecipeError, TrainingError
from commoncanvas.core.text import counted
from commoncanvas.diffusion.objective import PREDICTION_TYPES, Objective
from commoncanvas.diffusion.sampling import generate_images, pipeline_scheduler
from commoncanvas.encoding.columns import (
    crop_column,
    latent_column,
    latent_info,
    pooled_column,
    stale,
    text_info,
)
from commoncanvas.encoding.command import column_info, present, text_sources
from commoncanvas.encoding.states import states, stored, values
from commoncanvas.images.grid import labelled_grid
from commoncanvas.models.hub import locate
from commoncanvas.models.text_encoder import TextEncoder, text_encoder_path
from commoncanvas.models.vae import VAE, downsampling, latent_side, load_vae, weights_sha256
from commoncanvas.models.vae_scaling import scaling_of
from commoncanvas.provenance.record import Part, maker, part
from commoncanvas.selection.rows import Selection, TrainingRows
from commoncanvas.selection.select import Pins, check_columns, open_catalogs, select_rows
from commoncanvas.table.columns import ColumnInfo
from commoncanvas.table.sql import all_of
from commoncanvas.table.texts import first_set, first_set_sql
from commoncanvas.training.aspects import aspect_ratios, crops, sizes
from commoncanvas.training.init_weights import check_init
from commoncanvas.training.networks import transformer, unet
from commoncanvas.training.networks.alignment import AlignedNetwork, Alignment, network_of
from commoncanvas.training.networks.unet import added
from commoncanvas.training.task import Batch, configuring, first_batch

DRAWN = 16


class DiffusionTask:
    def __init__(self, recipe: DiffusionRecipe, pins: Pins | None) -> None:
        self.recipe = recipe
        assert isinstance(recipe.noise.schedule, dict)  # see run.resolved
        self.notes = check_init(recipe)
        catalogs = open_catalogs(recipe.data, pins or {}).values()
        for field in ("vae", "text_encoder"):
            locate(text_encoder_path(getattr(recipe, field)), f"{recipe.name}: {field}")
        declared = text_sources(recipe)
        self.sources = {
            column: texts
            for column, sources in declared.items()
            if (texts := [text for text in sources if any(present([text], catalog) for catalog in catalogs)])
            or recipe.data.text_mix is None
        }
        self.latents = latent_column(recipe.vae, recipe.size)
        drawn = [text for texts in self.sources.values() for text in texts] if recipe.data.text_mix else []
        self.columns: tuple[str, ...] = (self.latents, *self.sources, *drawn)
        if recipe.encode.buckets:
            self.columns += (crop_column(self.latents),)
        self.rows = self._select(pins)
        self.vae = load_vae(recipe.vae)
        self.text_encoder = TextEncoder(
            recipe.text_encoder, recipe.text_length, recipe.text_skip, recipe.prompts
        )
        _trainable(recipe, self.vae)
        self.scaling = scaling_of(self.vae, recipe.vae, recipe.pipeline)
        self.pooled = [pooled_column(name) for name in self.sources] if self.text_encoder.pair else []
        if self.pooled:
            self.columns = tuple(dict.fromkeys((*self.columns, *self.pooled, crop_column(self.latents))))
        self.alignment = recipe.alignment and Alignment(recipe, recipe.alignment, self.rows.catalogs)
        if self.alignment:
            self.columns += (self.alignment.config.column,)
        if recipe.transformer:
            texts = [text for texts in self.sources.values() for text in texts]
            self.columns = tuple(dict.fromkeys((*self.columns, *texts)))
        latents = latent_info(self.vae, recipe.vae, recipe.size, recipe.encode)
        text = {
            name: text_info(self.text_encoder, recipe.text_encoder, declared[name], name, recipe.encode)
            for name in self.sources
        }
        for selection in self.rows.selections:
            for name, info in {self.latents: latents, **text}.items():
                _check(selection.catalog, name, info, recipe.command("encode", "--overwrite"))
            self._check_fresh(selection)
        if recipe.encode.buckets:
            self.rows = replace(self.rows, kinds=aspect_ratios(self.rows, crop_column(self.latents)))
        side = latent_side(self.vae, recipe.size)
        self.stored_shape, self.latent_shape = latents.shape, (self.vae.config.latent_channels, side, side)
        self.text_shape = (recipe.text_length, self.text_encoder.width)
        vae = part("vae", recipe.vae, latents.sha256)
        encoder = part("text_encoder", recipe.text_encoder, next(iter(text.values())).sha256)
        build = transformer.build_transformer if recipe.transformer else unet.build_unet
        network = build(recipe, self.latent_shape, self.text_encoder)
        self.model: nn.Module = network
        begun = [part("init", recipe.init, weights_sha256(network))] if recipe.init else []
        aligned = [self.alignment.part] if self.alignment else []
        self.parts: tuple[Part, ...] = (vae, encoder, *begun, *aligned, *self._captioners())
        for each in self.parts:
            each.check(licenses.Policy(recipe.data.policy), self.rows.catalogs)
        with configuring(f"{recipe.name}: noise.schedule is not a configuration of DDPMScheduler"):
            self.scheduler = DDPMScheduler(**{"clip_sample": False} | recipe.noise.schedule)
        kind = self.scheduler.config.prediction_type
        if kind not in PREDICTION_TYPES:
            raise RecipeError(
                f"{recipe.name}: noise.schedule.prediction_type {kind!r} must be one of {', '.join(PREDICTION_TYPES)}"
            )
        # A sampler that doesn't exist is found now, not after the training.
        pipeline_scheduler(self.scheduler, recipe.sample)
        self.objective = Objective(self.scheduler, **recipe.noise.model_dump(exclude={"schedule"}))
        # Caption dropout puts the empty caption's states in place of the row's, as guidance does when sampling.
        states, pooled = self.text_encoder.encode([""])
        self.empty = states[0], torch.zeros(0) if pooled is None else pooled[0]
        if recipe.transformer:
            transformer.check_states(self.pipeline(network), self.text_encoder, recipe)
        if self.alignment:
            self.model = self.alignment.around(network, lambda: self.loss(network, first_batch(self, 1)))

    def _select(self, pins: Pins | None) -> TrainingRows:
        """Rows that have latents and a text, with its states."""
        data = self.recipe.data
        requires = self.columns if data.text_mix is None else [self.latents]
        return select_rows(data, requires, pins, self._with_text, encode=self.recipe.command("encode"))

    def _with_text(self, catalog: Catalog) -> list[str]:
        if self.recipe.data.text_mix is None:
            (texts,) = self.sources.values()
            there = present(texts, catalog)
            return [f"{first_set_sql(there)} IS NOT NULL"] if there else []
        drawn = {name: text for name, (text,) in self.sources.items() if present([text], catalog)}
        check_columns(catalog, list(drawn), self.recipe.command("encode"))
        both = [f"({name} IS NOT NULL AND {text} IS NOT NULL)" for name, text in drawn.items()]
        return [f"({' OR '.join(both)})" if both else "FALSE"]

    def _check_fresh(self, selection: Selection) -> None:
        """Raises TrainingError if a row's states are of another text than it has by now."""
        catalog = selection.catalog
        for column, sources in self.sources.items():
            texts = present(sources, catalog)
            if not texts:
                continue
            changed = all_of(
                selection.filter,
                f"{column} IS NOT NULL",
                f"{first_set_sql(texts)} IS NOT NULL",
                stale(column, texts),
            )
            if count := catalog.count(changed):
                raise TrainingError(
                    f"column {column} of {catalog.uri} was made of other texts than there are now, in "
                    f"{counted(count, 'rows')}; to make just those anew: {self.recipe.command('encode')}"
                )

    def _captioners(self) -> list[Part]:
        """The models that wrote captions which it learns from."""
        parts: list[Part] = []
        for number, catalog in enumerate(self.rows.catalogs):
            fields = [catalog.schema.field(name) for name in self.rows.text_columns(number)]
            for info in filter(None, map(ColumnInfo.of, fields)):
                captioner = maker("captioner", info)
                if captioner not in parts:
                    parts.append(captioner)
        return parts

    def batch(self, table: pa.Table, draws: NDArray[np.float64]) -> Batch:
        drawn_B = self._drawn_text(table, draws)
        batch = {
            "latents": self._latents_stored(table),
            "text": _gathered(table, list(self.sources), self.text_shape, drawn_B),
        }
        if self.pooled:
            batch["pooled"] = _gathered(table, self.pooled, (self.text_encoder.pooled_width,), drawn_B)
            batch["crop"] = torch.tensor(crops(table[crop_column(self.latents)]))
        if self.recipe.transformer:
            # The states' own texts: those of a row whose text has changed would have been found before.
            texts = [first_set(table, names) for names in self.sources.values()]
            batch["seen"] = self.text_encoder.masks(
                [texts[number][row].as_py() for row, number in enumerate(drawn_B)]
            )
        if self.alignment:
            batch["features"] = self.alignment.read(table)
        return batch

    def _latents_stored(self, table: pa.Table) -> Tensor:
        """As they are stored, or in buckets fp16 [B, (2,) (2,) C, H, W], of rows that have one aspect ratio."""
        config, column = self.recipe.encode, table[self.latents]
        if not config.buckets:
            return stored(column, self.stored_shape)
        axes = config.flipped + (config.posterior == "mean_std")
        leading = self.stored_shape[:axes]
        rows = states(column, (*leading, math.prod(self.stored_shape[axes:])))
        height, width = sizes(table[crop_column(self.latents)])[0] // downsampling(self.vae)
        one = (self.latent_shape[0], height, width)
        return rows[..., : math.prod(one)].reshape(-1, *leading, *one)

    def _drawn_text(self, table: pa.Table, draws_B: NDArray[np.float64]) -> NDArray[np.int64]:
        """Which of `sources` each row's number draws, by the recipe's shares."""
        mix = self.recipe.data.text_mix
        if mix is None:
            return np.zeros(len(table), np.int64)
        drawable = {
            text: pc.and_(table[name].is_valid(), table[text].is_valid())
            for name, (text,) in self.sources.items()
        }
        shares_BN = np.stack([set_B.to_numpy() * mix[text] for text, set_B in drawable.items()], axis=1)
        ends_BN = np.cumsum(shares_BN, axis=1)
        drawn_B: NDArray[np.int64] = (draws_B[:, None] * ends_BN[:, -1:] >= ends_BN).sum(1)
        return drawn_B

    def random_inputs(self, size: int, batch: Batch, generator: Generator, done: float) -> Batch:
        device = generator.device
        config = self.recipe.encode
        # fp8's bytes, which say nothing of it, are of squares.
        bytes_ = batch["latents"].dtype == torch.uint8
        shape = self.latent_shape if bytes_ else batch["latents"].shape[-3:]
        drawn: Batch = {}
        if config.flipped:
            drawn["mirrored"] = torch.randint(2, (size,), generator=generator, device=device)
        if config.posterior == "mean_std":
            drawn["deviation"] = torch.randn(size, *shape, generator=generator, device=device)
        drawn["noise"] = torch.randn(size, *shape, generator=generator, device=device)
        drawn["timesteps"] = self.objective.draw_timesteps(size, generator, done)
        drawn["dropped"] = torch.rand(size, generator=generator, device=device) < self.recipe.caption_dropout
        if share := self.recipe.masked_patches:
            patch_size = network_of(self.model).config.patch_size
            drawn["ids_keep"] = transformer.draw_ids_keep(size, shape, patch_size, share, generator)
        return drawn

    def _latents(self, batch: Batch) -> Tensor:
        """[B, C, H, W], scaled: of the image or its mirror image, the mean or a sample, as it was drawn."""
        latents = values(batch["latents"], self.stored_shape)
        if "mirrored" in batch:
            latents = latents[torch.arange(len(latents), device=latents.device), batch["mirrored"]]
        if "deviation" in batch:
            mean, deviation = latents.unbind(1)
            latents = mean + deviation * batch["deviation"]
        return self.scaling(latents)

    def _conditions(self, batch: Batch) -> dict[str, Any]:
        """The condition of each sample; of rows whose caption was dropped, the empty caption's states."""
        dropped_B = batch["dropped"]
        empty_LD, empty_P = (each.to(dropped_B.device) for each in self.empty)
        text_BLD = values(batch["text"], self.text_shape)
        cond: dict[str, Any] = {
            "encoder_hidden_states": torch.where(dropped_B[:, None, None], empty_LD, text_BLD)
        }
        if "seen" in batch:
            empty_L = self.text_encoder.masks([""])[0].to(dropped_B.device)
            cond["encoder_attention_mask"] = torch.where(dropped_B[:, None], empty_L, batch["seen"])
        if self.pooled:
            pooled_BP = values(batch["pooled"], (self.text_encoder.pooled_width,))
            pooled_BP = torch.where(dropped_B[:, None], empty_P, pooled_BP)
            cond["added_cond_kwargs"] = added(pooled_BP, batch["crop"])
        return cond

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        if isinstance(model, AlignedNetwork):
            return model.loss(lambda network: self.loss(network, batch), batch)
        latents_BCHW, noise_BCHW, timesteps_B = self._latents(batch), batch["noise"], batch["timesteps"]
        noisy_BCHW = self.objective.noisy(latents_BCHW, noise_BCHW, timesteps_B)
        target = self.objective.target(latents_BCHW, noise_BCHW, timesteps_B)
        cond = self._conditions(batch) | {"timestep": timesteps_B}
        # Outside of training the network sees all patches, as in sampling.
        if "ids_keep" in batch and model.training:
            ids_keep_BK, mixer = batch["ids_keep"], self.recipe.patch_mixer
            predicted, target = transformer.unmasked_pair(
                model, noisy_BCHW, target, ids_keep_BK, mixer, **cond
            )
        else:
            predicted = model(noisy_BCHW, **cond, return_dict=False)[0]
        error_B = (predicted.float() - target).square().mean((1, 2, 3))
        loss: Tensor = (error_B * self.objective.weights(timesteps_B)).mean()
        return loss

    def pipeline(self, model: nn.Module) -> DiffusionPipeline:
        """The pipeline that anyone gets from the exported folder, around the weights of now."""
        build = transformer.build_pipeline if self.recipe.transformer else unet.build_pipeline
        return build(network_of(model), self.vae, self.text_encoder, self.scheduler, self.recipe)

    def save_samples(self, model: nn.Module, path: Path) -> None:
        prompts = self.recipe.sample.prompts or self._some_texts()
        sample = self.recipe.sample
        images = generate_images(
            self.pipeline(model).to(next(model.parameters()).device),
            prompts,
            seeds=[self.recipe.seed] * len(prompts),
            guidance_scale=sample.guidance_scale,
            steps=sample.steps,
        )
        labelled_grid(images, prompts).save(path)

    def _some_texts(self) -> list[str]:
        trained = (pc.field("split") == "train") & (pc.field("text") != "")
        texts: list[str] = self.rows.table.filter(trained).slice(0, DRAWN)["text"].to_pylist()
        return texts

    def export(self, model: nn.Module, folder: Path) -> dict[str, Any]:
        self.pipeline(model.to("cpu")).save_pretrained(folder, safe_serialization=True)
        return {"diffusers": diffusers.__version__}


def _check(catalog: Catalog, column: str, wanted: ColumnInfo, remake: str) -> None:
    """Raises TrainingError, with the command to `remake` it, unless the column, if it is there, was made as wanted."""
    if column not in catalog.schema.names:
        return
    made = column_info(catalog, column)
    if made.identity != wanted.identity:
        raise TrainingError(
            f"column {column} of {catalog.uri} was made by {made.made_by}, and the recipe wants it by "
            f"{wanted.made_by}; to make it anew: {remake}"
        )


def _gathered(
    table: pa.Table, columns: Sequence[str], shape: Sequence[int], drawn_B: NDArray[np.int64]
) -> Tensor:
    """States as they are stored, each row's from the column, of `columns`, whose number it drew."""
    if len(columns) == 1:
        return stored(table[columns[0]], shape)
    places = [np.flatnonzero(drawn_B == number) for number in range(len(columns))]
    parts = [stored(table[name].take(pa.array(at)), shape) for name, at in zip(columns, places, strict=True)]
    return torch.cat(parts)[torch.from_numpy(np.argsort(np.concatenate(places)))]


def _trainable(recipe: DiffusionRecipe, vae: VAE) -> None:
    """Raises RecipeError for what can be encoded, and not be trained on."""
    if not isinstance(vae, AutoencoderKL):
        raise RecipeError(
            f"{recipe.name}: vae {recipe.vae} is no AutoencoderKL, which the trained pipeline needs"
        )
