"""The diffusion task: a text-conditional network learns from latents and text states computed ahead of time."""

from __future__ import annotations

import json
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
from commoncanvas.config import DiffusionRecipe, SampleConfig
from commoncanvas.core.errors import RecipeError, TrainingError
from commoncanvas.core.files import replace_text
from commoncanvas.diffusion.batches import Painter
from commoncanvas.diffusion.networks.alignment import AlignedNetwork, network_of
from commoncanvas.diffusion.networks.transformer import check_states
from commoncanvas.diffusion.objective import PREDICTION_TYPES, Objective
from commoncanvas.diffusion.sampling import pipeline_scheduler
from commoncanvas.encoding.columns import crop_column
from commoncanvas.encoding.command import column_info
from commoncanvas.images.grid import save_grid
from commoncanvas.models.devices import converted
from commoncanvas.models.hub import locate
from commoncanvas.models.text_encoder import TextEncoder, text_encoder_path
from commoncanvas.models.vae import VAE, load_vae, weights_sha256
from commoncanvas.provenance.record import Part, maker, part
from commoncanvas.selection.rows import TrainingRows
from commoncanvas.selection.select import Pins, open_catalogs, select_rows
from commoncanvas.table.columns import ColumnInfo
from commoncanvas.training.aspects import aspect_ratios
from commoncanvas.training.init_weights import check_init
from commoncanvas.training.task import Batch, configuring, first_batch
from commoncanvas.training.tasks.alignment import Alignment
from commoncanvas.training.tasks.conditioning import TextSources, conditioning_of
from commoncanvas.training.tasks.latents import LatentCodec, latent_columns
from commoncanvas.training.tasks.network import build_network, family_of

DRAWN = 16


class DiffusionTask:
    def __init__(self, recipe: DiffusionRecipe, pins: Pins | None) -> None:
        self.recipe = recipe
        self.notes = check_init(recipe)
        catalogs = open_catalogs(recipe.data, pins or {}).values()
        for field in ("vae", "text_encoder"):
            locate(text_encoder_path(getattr(recipe, field)), f"{recipe.name}: {field}")
        sources = TextSources(recipe, catalogs)
        latents = latent_columns(recipe)
        # With `text_mix`, a row needs one of the texts only.
        requires = (*latents[:1], *sources.columns, *latents[1:]) if sources.mix is None else latents[:1]
        remake = recipe.command("encode", "--overwrite")
        self.rows: TrainingRows = select_rows(
            recipe.data, requires, pins, sources.conditions, encode=recipe.command("encode")
        )
        self.vae = load_vae(recipe.vae)
        self.text_encoder = TextEncoder(
            recipe.text_encoder, recipe.text_length, recipe.text_skip, recipe.prompts
        )
        _trainable(recipe, self.vae)
        self.codec = LatentCodec(recipe, self.vae)
        self.alignment = recipe.alignment and Alignment(recipe, recipe.alignment, self.rows.catalogs)
        self.conditioning = conditioning_of(recipe, sources, self.text_encoder)
        columns = (*latents, *self.conditioning.columns)
        if self.alignment:
            columns += (self.alignment.config.column,)
        self.columns: tuple[str, ...] = tuple(dict.fromkeys(columns))
        for selection in self.rows.selections:
            for name, info in {self.codec.column: self.codec.info, **self.conditioning.infos}.items():
                _check(selection.catalog, name, info, remake)
            sources.check_fresh(selection)
        if recipe.encode.buckets:
            self.rows = replace(self.rows, kinds=aspect_ratios(self.rows, crop_column(self.codec.column)))
        self.family = family_of(recipe, self.text_encoder.width, self.text_encoder.pooled_width)
        network = build_network(recipe, self.family, self.codec.shape)
        self.model: nn.Module = network
        self.parts: tuple[Part, ...] = self._parts(network)
        for each in self.parts:
            each.check(licenses.Policy(recipe.data.policy), self.rows.catalogs)
        self.scheduler = _scheduler(recipe)
        self.objective = Objective(self.scheduler, **recipe.noise.model_dump(exclude={"schedule"}))
        if recipe.transformer:
            with configuring(
                f"{recipe.name}: text_encoder {recipe.text_encoder} can't be used in PixArt's pipeline"
            ):
                check_states(self.pipeline(network), self.text_encoder)
        if self.alignment:
            self.model = self.alignment.around(network, lambda: self.loss(network, first_batch(self, 1)))

    def _parts(self, network: nn.Module) -> tuple[Part, ...]:
        """The models that it is built on, including those that wrote its training captions."""
        recipe = self.recipe
        encoder = next(iter(self.conditioning.infos.values()))
        parts = [part("vae", recipe.vae, self.codec.info.sha256)]
        parts += [part("text_encoder", recipe.text_encoder, encoder.sha256)]
        parts += [part("init", recipe.init, weights_sha256(network))] if recipe.init else []
        parts += [self.alignment.part] if self.alignment else []
        captioners: list[Part] = []
        for number, catalog in enumerate(self.rows.catalogs):
            fields = [catalog.schema.field(name) for name in self.rows.text_columns(number)]
            for info in filter(None, map(ColumnInfo.of, fields)):
                captioner = maker("captioner", info)
                if captioner not in captioners:
                    captioners.append(captioner)
        return (*parts, *captioners)

    def batch(self, table: pa.Table, draws: NDArray[np.float64]) -> Batch:
        batch = {"latents": self.codec.read(table), **self.conditioning.read(table, draws)}
        return batch | {"features": self.alignment.read(table)} if self.alignment else batch

    def random_inputs(self, size: int, batch: Batch, generator: Generator, done: float) -> Batch:
        drawn = self.codec.draw(size, batch["latents"], generator)
        drawn["timesteps"] = self.objective.draw_timesteps(size, generator, done)
        random_B = torch.rand(size, generator=generator, device=generator.device)
        drawn["dropped"] = random_B < self.recipe.caption_dropout
        return drawn | self.family.draw(size, drawn["noise"].shape[1:], generator)

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        if isinstance(model, AlignedNetwork):
            return model.loss(lambda network: self.loss(network, batch), batch)
        latents_BCHW, noise_BCHW, timesteps_B = self.codec.latents(batch), batch["noise"], batch["timesteps"]
        noisy_BCHW = self.objective.noisy(latents_BCHW, noise_BCHW, timesteps_B)
        target_BCHW = self.objective.target(latents_BCHW, noise_BCHW, timesteps_B)
        arguments = self.conditioning.arguments(batch) | {"timestep": timesteps_B}
        predicted, target = self.family.predict(model, noisy_BCHW, target_BCHW, batch, arguments)
        error_B = (predicted.float() - target).square().mean((1, 2, 3))
        loss: Tensor = (error_B * self.objective.weights(timesteps_B)).mean()
        return loss

    def pipeline(self, model: nn.Module) -> DiffusionPipeline:
        """The pipeline of the exported folder, with the current weights."""
        sampler = _sampler(self.scheduler, self.recipe.sample)
        return self.family.pipeline(network_of(model), self.vae, self.text_encoder, sampler)

    def save_samples(self, model: nn.Module, path: Path) -> None:
        prompts = self.recipe.sample.prompts or self._some_texts() or [""]
        sample = self.recipe.sample
        images = Painter(self.pipeline(model).to(next(model.parameters()).device)).images(
            prompts,
            seeds=[self.recipe.seed] * len(prompts),
            guidance_scale=sample.guidance_scale,
            steps=sample.steps,
        )
        save_grid(list(images), prompts, path)

    def _some_texts(self) -> list[str]:
        trained = (pc.field("split") == "train") & (pc.field("text") != "")
        texts: list[str] = self.rows.table.filter(trained).slice(0, DRAWN)["text"].to_pylist()
        return texts

    def export(self, model: nn.Module, folder: Path) -> dict[str, Any]:
        pipeline = self.pipeline(model.to("cpu"))
        for module in (network_of(model), self.vae, self.text_encoder.modules):
            converted(module, self.recipe.export_precision)
        pipeline.save_pretrained(folder, safe_serialization=True)
        _loaded_as_floats(folder)
        return {"diffusers": diffusers.__version__}


def _loaded_as_floats(folder: Path) -> None:
    """Text encoders say that they are loaded in fp32. diffusers does so with its own networks, whatever the file has,
    and transformers goes by this field.
    """
    for path in folder.glob("text_encoder*/config.json"):
        config = json.loads(path.read_text(encoding="utf-8"))
        replace_text(path, json.dumps(config | {"dtype": "float32"}, indent=2) + "\n")


def _check(catalog: Catalog, column: str, wanted: ColumnInfo, remake: str) -> None:
    """Raises TrainingError with the command `remake` if the column exists but was not made as wanted."""
    if column not in catalog.schema.names:
        return
    made = column_info(catalog, column)
    if made.identity != wanted.identity:
        raise TrainingError(
            f"column {column} of {catalog.uri} was made by {made.made_by}, but the recipe needs it by "
            f"{wanted.made_by}; to make it again: {remake}"
        )


def _scheduler(recipe: DiffusionRecipe) -> DDPMScheduler:
    """The noise schedule. Raises RecipeError if it or the sampler can't be used."""
    schedule = recipe.noise.schedule
    assert isinstance(schedule, dict)  # `resume.resolved` replaces from-init
    with configuring(f"{recipe.name}: noise.schedule is not a configuration of DDPMScheduler"):
        scheduler = DDPMScheduler(**{"clip_sample": False} | schedule)
    kind = scheduler.config.prediction_type
    if kind not in PREDICTION_TYPES:
        raise RecipeError(
            f"{recipe.name}: noise.schedule.prediction_type {kind!r} must be one of {', '.join(PREDICTION_TYPES)}"
        )
    # Find an unknown sampler now, not after the training.
    _sampler(scheduler, recipe.sample)
    return scheduler


def _sampler(training: DDPMScheduler, sample: SampleConfig) -> Any:
    return pipeline_scheduler(
        training,
        sample.scheduler,
        steps=sample.steps,
        guidance_scale=sample.guidance_scale,
        options=sample.options,
    )


def _trainable(recipe: DiffusionRecipe, vae: VAE) -> None:
    """Raises RecipeError for a VAE that can encode, but that training does not support."""
    if not isinstance(vae, AutoencoderKL):
        raise RecipeError(
            f"{recipe.name}: vae {recipe.vae} is not an AutoencoderKL, which the trained pipeline needs"
        )
