"""The `plan` command: hours, storage and cost of trainings, before they start."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from commoncanvas.catalog import Catalog
from commoncanvas.config import DiffusionRecipe, Recipe, RecipeBase, as_recipe
from commoncanvas.core.errors import CatalogError, CommonCanvasError, RecipeError
from commoncanvas.models.data_sheets import Device, device_of
from commoncanvas.planning.network import network_of
from commoncanvas.planning.parts import latents_of, text_states_of
from commoncanvas.planning.reference import DEFAULT_UTILISATION
from commoncanvas.planning.result import Phase, Plan
from commoncanvas.planning.storage import Stored, columns_of, count_rows, together
from commoncanvas.selection.heldout import fraction_count
from commoncanvas.table.filters import open_rows

STATE_BYTES = 16
"""Of each parameter in fp32: weight, gradient and AdamW's two moments."""
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
    """Estimate what training `recipes` takes. This downloads nothing, computes nothing and needs no GPU.

    `images`: number of rows; default: the rows that each recipe chooses. `utilisation`: share of the peak that training
    reaches; default: DEFAULT_UTILISATION. Raises RecipeError, CatalogError, CommonCanvasError.
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
    given = [recipes] if isinstance(recipes, str | Path | RecipeBase) else recipes
    todo = [as_recipe(each) for each in given]
    if not todo:
        raise CommonCanvasError("there is no recipe to plan; give one, such as s-c")
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
            "change --gpus, or set --train.batch_size to a multiple of it"
        )
    latents, text = latents_of(recipe), text_states_of(recipe)
    network = network_of(recipe, latents, text)
    catalogs = _catalogs(recipe)
    places = [each.catalog for each in recipe.data.catalogs.values()]
    unknown: list[str] = []
    rows: list[float | None]
    if images is None:
        unknown = [place for place, catalog in zip(places, catalogs.values(), strict=True) if catalog is None]
        opened = {name: catalog for name, catalog in catalogs.items() if catalog is not None}
        counts = [] if unknown else [_count(recipe, name, catalog) for name, catalog in opened.items()]
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
    """`unknown`: paths of catalogs that don't exist, so their rows can't be counted."""
    notes = []
    if recipe.init is not None:
        before = outs.get(recipe.init)
        which = (
            f"{before}, which has its own column"
            if before
            else f"{recipe.init}, whose training is not counted"
            + ("" if Path(recipe.init).exists() else " and which is not a folder here yet")
        )
        notes.append(f"{recipe.name}: this phase only; it continues from {which}")
    if unknown:
        notes.append(
            f"{recipe.name}: there is no catalog at {' and '.join(unknown)}; give --images for epochs and storage"
        )
    elif len(recipe.data.catalogs) > 1:
        notes.append(
            f"{recipe.name}: an image in several catalogs counts once for each, unless you give --images"
        )
    if recipe.data.fraction < 1:
        notes.append(
            f"{recipe.name}: data.fraction {recipe.data.fraction:g} limits only training; encode processes all images, "
            "and storage is for all"
        )
    if state > device.memory:
        notes.append(
            f"{recipe.name}: weights, gradients, optimizer and average don't fit into one {device.name}'s "
            f"{device.memory / 1e9:.0f} GB unless they are shared among devices"
        )
    if recipe.train.activation_checkpointing:
        notes.append(f"{recipe.name}: activation checkpointing computes blocks twice; both times are counted")
    return notes


def _notes(
    device: Device, recipes: Sequence[DiffusionRecipe], utilisation: float | None, dollars: float | None
) -> tuple[str, ...]:
    notes = []
    if utilisation is None:
        notes.append(
            f"utilisation {DEFAULT_UTILISATION:g} is calibrated on one published table of 8 to 128 A100s; compared "
            "with it, days are within 11 % and images/s within 15 %, but 256 px on 128 A100s is 60 % too fast; "
            "other devices were not measured"
        )
    if not device.bf16 and any(recipe.train.precision != "fp32" for recipe in recipes):
        notes.append(
            f"{device.name}: the peak is for fp16; the device has no bf16, so train.precision auto uses fp32: give "
            "--utilisation as a share of that peak"
        )
    notes.append("memory: activations and bf16 copies of the weights need more, which is not estimated")
    notes.append(
        "not counted: encoding, images, checkpoints"
        + ("; give --dollars-an-hour for the cost" if dollars is None else "")
    )
    return tuple(notes)


def _diffusion(recipe: Recipe, utilisation: float | None) -> DiffusionRecipe:
    if not isinstance(recipe, DiffusionRecipe):
        raise RecipeError(
            f"{recipe.name}: a recipe of task {recipe.task} can't be planned; give one of task diffusion"
        )
    if recipe.train.precision == "fp32" and utilisation is None:
        raise RecipeError(
            f"{recipe.name}: the devices' peaks are for bf16, but train.precision is fp32; give --utilisation as a "
            "share of that peak, or --train.precision bf16"
        )
    return recipe


def _trained(recipe: DiffusionRecipe, rows: int) -> int:
    """How many of `rows` training sees, after `data.heldout_fraction` and `data.fraction`. The number is approximate,
    because the ids decide which rows are held out.
    """
    data = recipe.data
    others = rows - round(data.heldout_fraction * rows)
    trained = fraction_count(others, data.fraction)
    if not trained:
        raise RecipeError(
            f"{recipe.name}: data.fraction {data.fraction:g} of {others:,} images is less than one image; give a "
            "larger share, or more --images"
        )
    return trained


def _rows(images: float | None) -> int | None:
    if images is None:
        return None
    if not (math.isfinite(images) and images >= 1):
        raise CommonCanvasError(f"--images {images:g}: give a number of rows, 1 or more")
    return round(images)


def _catalogs(recipe: DiffusionRecipe) -> dict[str, Catalog | None]:
    """The recipe's catalogs by name; None for one that doesn't exist yet. Raises CatalogError if one can't be read."""
    return {
        name: open_rows(each.catalog, each.version)
        if "://" in each.catalog or Path(each.catalog).exists()
        else None
        for name, each in recipe.data.catalogs.items()
    }


def _count(recipe: DiffusionRecipe, name: str, catalog: Catalog) -> int:
    rows = count_rows(recipe, catalog, name)
    if not rows:
        raise CatalogError(
            f"{recipe.name}: catalog {recipe.data.catalogs[name].catalog} has no row that the recipe chooses; "
            "give --images"
        )
    return rows
