"""The command: hours, storage and cost of training recipes, before any of it is spent."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from commoncanvas.catalog import Catalog
from commoncanvas.config import DiffusionRecipe, Recipe, as_recipe
from commoncanvas.core.errors import CatalogError, CommonCanvasError, RecipeError
from commoncanvas.models.data_sheets import Device, device_of
from commoncanvas.planning.network import network_of
from commoncanvas.planning.parts import latents_of, text_states_of
from commoncanvas.planning.reference import DEFAULT_UTILISATION
from commoncanvas.planning.result import Phase, Plan
from commoncanvas.planning.storage import Stored, chosen_rows, columns_of, together
from commoncanvas.selection.heldout import fraction_count
from commoncanvas.table.filters import open_rows

if TYPE_CHECKING:
    pass

STATE_BYTES = 16
"""A parameter's, in fp32: weight, gradient and AdamW's two moments."""
EMA_BYTES = 4


def plan(
    recipes: Recipe | str | Path | Sequence[Recipe | str | Path],
    *,
    device: str,
    gpus: int = 1,
    images: float | None = None,
    utilisation: float | None = None,
    dollars_an_hour: float | None = None,
) -> Plan:
    """What training `recipes` takes. Nothing is downloaded, nothing is computed, no GPU is needed.

    `images`: rows, by default those that each recipe chooses of its catalog. `utilisation`: share of the peak that is
    reached, by default DEFAULT_UTILISATION. Raises RecipeError, CatalogError, CommonCanvasError.
    """
    kind = device_of(device)
    rows = _rows(images)
    share = DEFAULT_UTILISATION if utilisation is None else utilisation
    if gpus < 1:
        raise CommonCanvasError(f"--gpus {gpus}: give 1 or more")
    if not 0 < share <= 1:
        raise CommonCanvasError(f"--utilisation {share:g}: give a share of the peak, above 0 and at most 1")
    if dollars_an_hour is not None and not (math.isfinite(dollars_an_hour) and dollars_an_hour >= 0):
        raise CommonCanvasError(
            f"--dollars-an-hour {dollars_an_hour:g}: give the price of a device, 0 or more"
        )
    several = isinstance(recipes, Sequence) and not isinstance(recipes, str)
    todo = [as_recipe(each) for each in (recipes if several else [recipes])]  # type: ignore[arg-type, union-attr]
    if not todo:
        raise CommonCanvasError("there is no recipe to plan; give one, such as recipes/s-c.yaml")
    planned = [_diffusion(recipe, utilisation) for recipe in todo]
    outs = {recipe.out: recipe.name for recipe in planned}
    return Plan(
        kind,
        gpus,
        share,
        dollars_an_hour,
        tuple(_phase(recipe, kind, gpus, rows, share, dollars_an_hour, outs) for recipe in planned),
        _notes(kind, planned, utilisation, dollars_an_hour),
    )


def _phase(
    recipe: DiffusionRecipe,
    device: Device,
    gpus: int,
    images: int | None,
    utilisation: float,
    dollars_an_hour: float | None,
    outs: dict[str, str],
) -> Phase:
    config = recipe.train
    if config.batch_size % gpus:
        raise CommonCanvasError(
            f"{recipe.name}: a batch of {config.batch_size} can't be shared among {gpus} devices evenly; "
            "give other --gpus, or a --train.batch_size that is a multiple of them"
        )
    latents, text = latents_of(recipe), text_states_of(recipe)
    network = network_of(recipe, latents, text)
    catalogs = _catalogs(recipe)
    places = [each.catalog for each in recipe.data.each_catalog.values()]
    unknown: list[str] = []
    rows: list[float | None]
    if images is None:
        unknown = [place for place, catalog in zip(places, catalogs.values(), strict=True) if catalog is None]
        there = {name: catalog for name, catalog in catalogs.items() if catalog is not None}
        counts = [] if unknown else [_count(recipe, name, catalog) for name, catalog in there.items()]
        rows = [None] * len(places) if unknown else [*counts]
        images = sum(counts) if counts else None
    else:
        rows = [images / len(places)] * len(places)
    each = [columns_of(recipe, latents, text, catalog) for catalog in catalogs.values()]
    stored = tuple(Stored(*one) for one in zip(places, rows, each, strict=True))
    columns = together(stored)
    trained = None if images is None else _trained(recipe, images)
    per_row = sum(column.bytes_per_row for column in columns)
    seen = config.steps * config.batch_size
    rate = gpus * device.peak * utilisation / network.flops
    hours = seen / rate / 3600
    state = network.parameters * (STATE_BYTES + (EMA_BYTES if config.ema_decay else 0))
    return Phase(
        recipe=recipe.name,
        catalog=" and ".join(places),
        parameters=network.parameters,
        flops=network.flops,
        steps=config.steps,
        batch_size=config.batch_size,
        images_per_s=rate,
        hours=hours,
        device_hours=hours * gpus,
        dollars=None if dollars_an_hour is None else hours * gpus * dollars_an_hour,
        images=images,
        trained_images=trained,
        epochs=None if trained is None else seen / trained,
        stored=stored,
        columns=columns,
        bytes_per_row=per_row,
        storage_bytes=None if images is None else per_row * images,
        state_bytes=state,
        notes=tuple(_phase_notes(recipe, device, state, outs, unknown)),
    )


def _phase_notes(
    recipe: DiffusionRecipe, device: Device, state: int, outs: dict[str, str], unknown: Sequence[str]
) -> list[str]:
    """`unknown`: where catalogs would have to be for their rows to be counted."""
    notes = []
    if recipe.init is not None:
        before = outs.get(recipe.init)
        which = (
            f"{before}, which has a column of its own"
            if before
            else f"{recipe.init}, whose training isn't counted"
            + ("" if Path(recipe.init).exists() else ", and which is no folder here yet")
        )
        notes.append(f"{recipe.name}: this phase alone; it goes on from {which}")
    if unknown:
        notes.append(
            f"{recipe.name}: there is no catalog at {' and '.join(unknown)}; give --images for epochs and storage"
        )
    elif len(recipe.data.each_catalog) > 1:
        notes.append(f"{recipe.name}: images, unless given, count once in each of its catalogs that has them")
    if recipe.data.fraction < 1:
        notes.append(
            f"{recipe.name}: data.fraction {recipe.data.fraction:g} is of what is trained on; encode does all images, "
            "and storage is theirs"
        )
    if state > device.memory:
        notes.append(
            f"{recipe.name}: weights, gradients, optimizer and average don't fit into one {device.name}'s "
            f"{device.memory / 1e9:.0f} GB unless they are shared among devices"
        )
    if recipe.train.activation_checkpointing:
        notes.append(f"{recipe.name}: activation checkpointing computes blocks twice, which is counted")
    return notes


def _notes(
    device: Device, recipes: Sequence[DiffusionRecipe], utilisation: float | None, dollars: float | None
) -> tuple[str, ...]:
    notes = []
    if utilisation is None:
        notes.append(
            f"utilisation {DEFAULT_UTILISATION:g} is calibrated on one published table, of 8 to 128 A100s: it meets "
            "their days within 11 %, their images/s within 15 % but for 256 px on 128, 60 % too fast "
            "(docs/guide/plan.md); other devices were not at hand"
        )
    if not device.bf16 and any(recipe.train.precision != "fp32" for recipe in recipes):
        notes.append(
            f"{device.name}: its peak is of fp16; it has no bf16, so that train.precision auto takes fp32 there: give "
            "--utilisation of that peak"
        )
    notes.append("memory: activations and bf16 copies of the weights come on top and are not estimated")
    notes.append(
        "not counted: encoding, images, checkpoints"
        + ("; give --dollars-an-hour for the cost" if dollars is None else "")
    )
    return tuple(notes)


def _diffusion(recipe: Recipe, utilisation: float | None) -> DiffusionRecipe:
    if not isinstance(recipe, DiffusionRecipe):
        raise RecipeError(
            f"{recipe.name}: a recipe of task {recipe.task} can't be planned, only those of task diffusion"
        )
    if recipe.train.precision == "fp32" and utilisation is None:
        raise RecipeError(
            f"{recipe.name}: the devices' peaks are of bf16 and train.precision is fp32; give --utilisation of that "
            "peak, or --train.precision bf16"
        )
    return recipe


def _trained(recipe: DiffusionRecipe, rows: int) -> int:
    """Of so many rows those that training sees, as `data.heldout_fraction` and `data.fraction` have it; how many are
    held out is a matter of their ids, about that share.
    """
    data = recipe.data
    others = rows - round(data.heldout_fraction * rows)
    trained = fraction_count(others, data.fraction)
    if not trained:
        raise RecipeError(
            f"{recipe.name}: data.fraction {data.fraction:g} of {others:,} images is not one image; give a larger "
            "share, or more --images"
        )
    return trained


def _rows(images: float | None) -> int | None:
    if images is None:
        return None
    if not (math.isfinite(images) and images >= 1):
        raise CommonCanvasError(f"--images {images:g}: give a number of rows, 1 or more")
    return round(images)


def _catalogs(recipe: DiffusionRecipe) -> dict[str, Catalog | None]:
    """The recipe's catalogs by name; None where there is none yet. Raises CatalogError for one that can't be read."""
    return {
        name: open_rows(each.catalog, each.version)
        if "://" in each.catalog or Path(each.catalog).exists()
        else None
        for name, each in recipe.data.each_catalog.items()
    }


def _count(recipe: DiffusionRecipe, name: str, catalog: Catalog) -> int:
    rows = chosen_rows(recipe, catalog, name)
    if not rows:
        raise CatalogError(
            f"{recipe.name}: catalog {recipe.data.each_catalog[name].catalog} has no row that the recipe chooses; "
            "give --images"
        )
    return rows
