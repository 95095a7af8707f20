"""A diffusion recipe's `init`: the weights that it starts from, and the noise schedule they were trained with."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import diffusers
from diffusers import DDPMScheduler, ModelMixin

from commoncanvas.config import DiffusionRecipe, NoiseConfig
from commoncanvas.config.recipes import FROM_INIT
from commoncanvas.core.errors import ModelError, RecipeError
from commoncanvas.core.text import one_line
from commoncanvas.diffusion.objective import FLOW
from commoncanvas.models.hub import find, locate
from commoncanvas.models.loading import beside, components, read_json
from commoncanvas.models.weights import load_network

FREE = ("sample_size", "dropout", "upcast_attention")
"""Fields of a network that may differ from those of `init`."""
SCHEDULE = (
    "num_train_timesteps",
    "beta_start",
    "beta_end",
    "beta_schedule",
    "trained_betas",
    "rescale_betas_zero_snr",
    "timestep_spacing",
    "prediction_type",
)
"""Fields of a noise schedule that are compared."""
SAMPLING = {"clip_sample": False, "steps_offset": 1}
"""More fields that are copied, and latent diffusion's values for schedulers without them."""
FLOW_SCHEDULE = ("num_train_timesteps", "prediction_type")
"""Compared if one of the two is a flow, which has no betas."""


def check_init(recipe: DiffusionRecipe) -> tuple[str, ...]:
    """Check a recipe's `init` before anything is loaded. Returns a line if its noise schedule differs.

    Raises ModelError if `init` does not exist, RecipeError if its pipeline has another prediction type.
    """
    if recipe.init is None:
        return ()
    locate(recipe.init, f"{recipe.name}: init")
    theirs = init_schedule(recipe.init)
    if not theirs:
        return ()
    assert isinstance(recipe.noise.schedule, dict)
    ours = dict(DDPMScheduler().config) | recipe.noise.schedule
    kind, wanted = theirs["prediction_type"], ours["prediction_type"]
    is_pipeline = find(recipe.init, "scheduler_config.json", "scheduler") is not None
    if kind != wanted and is_pipeline:
        raise RecipeError(
            f"{recipe.name}: init {recipe.init} has prediction_type {kind}, but noise.schedule.prediction_type is "
            f"{wanted}; set it to {kind}, or to train the network for {wanted}, give its own folder as init"
        )
    differences = [
        f"{name} {theirs[name]!r}, not {ours[name]!r}"
        for name in (FLOW_SCHEDULE if FLOW in (kind, wanted) else SCHEDULE)
        if theirs.get(name, ours[name]) != ours[name]
    ]
    if not differences:
        return ()
    return (
        f"{recipe.name}: the pipeline of init {recipe.init} has a different noise.schedule: {'; '.join(differences)}; "
        f"to use it, add --noise.schedule {FROM_INIT}",
    )


def with_init_schedule(recipe: DiffusionRecipe) -> DiffusionRecipe:
    """The recipe, with its `init`'s noise schedule if it says from-init. Raises ModelError, RecipeError."""
    if recipe.noise.schedule != FROM_INIT:
        return recipe
    if recipe.init is None:
        raise RecipeError(
            f"{recipe.name}: noise.schedule {FROM_INIT} needs an init to take the schedule from"
        )
    schedule = init_schedule(recipe.init)
    if not schedule:
        raise RecipeError(
            f"{recipe.name}: init {recipe.init} has no scheduler/scheduler_config.json to take noise.schedule from; "
            "give a whole pipeline as init, or set noise.schedule"
        )
    try:
        noise = NoiseConfig.model_validate(recipe.noise.model_dump() | {"schedule": schedule})
    except ValueError as error:
        raise RecipeError(
            f"{recipe.name}: noise.schedule of init {recipe.init}: {one_line(error)}"
        ) from error
    return recipe.model_copy(update={"noise": noise})


def init_schedule(init: str) -> dict[str, Any]:
    """The noise schedule of the pipeline that `init` is, or belongs to, as DDPMScheduler's fields; {} if it has none.

    Fields that the file lacks have the defaults of its scheduler's class. Raises ModelError.
    """
    path = beside(init, "scheduler/scheduler_config.json")
    if path is None:
        return {}
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        name = str(config["_class_name"])
        if not name.endswith("Scheduler"):
            raise ValueError(f"{name} is not a scheduler")
        found = dict(getattr(diffusers, name).from_config(config).config)
    except Exception as error:  # schedulers raise many types for a bad configuration
        raise ModelError(f"init {init}: {path.name} can't be read: {one_line(error)}") from error
    if name.startswith("FlowMatch") or found.get("prediction_type") == FLOW:
        return {"num_train_timesteps": found["num_train_timesteps"], "prediction_type": FLOW}
    known = {field: found[field] for field in (*SCHEDULE, *SAMPLING) if field in found}
    return SAMPLING | {"prediction_type": "epsilon"} | known


def start(network: ModelMixin, recipe: DiffusionRecipe, name: str) -> None:
    """Load the weights of `recipe.init` into the network, the pipeline's part `name`. Raises RecipeError."""
    assert recipe.init is not None
    part = name if name in components(recipe.init, "init") else ""
    found = load_network(type(network), recipe.init, "init", subfolder=part)
    try:
        network.load_state_dict(found.state_dict())
        reason = ""
    except RuntimeError as error:
        reason = one_line(error)
    _check_config(recipe, name, found.config, network.config, reason)


def check_network(network: ModelMixin, recipe: DiffusionRecipe, name: str) -> None:
    """Check the network like `start`, but by configurations only, without loading weights. `init` must be a folder."""
    assert recipe.init is not None
    part = name if name in components(recipe.init, "init") else ""
    config = read_json(recipe.init, "config.json", part, what="init")
    if not config:
        raise RecipeError(
            f"{recipe.name}: init {recipe.init} has no config.json of a {name}; give the folder of a pipeline"
        )
    _check_config(recipe, name, config, network.config)


def _check_config(
    recipe: DiffusionRecipe, name: str, theirs: Mapping[str, Any], ours: Mapping[str, Any], reason: str = ""
) -> None:
    differences = [
        f"{field} {value!r}"
        for field, value in theirs.items()
        if not field.startswith("_") and field not in FREE and not _alike(value, ours.get(field))
    ]
    if differences or reason:
        has = f"it has {', '.join(differences)}" if differences else reason
        raise RecipeError(
            f"{recipe.name}: the network of init {recipe.init} differs from the recipe's; "
            f"change {name} to match it ({one_line(has)})"
        )


def _alike(one: Any, other: Any) -> bool:
    """Whether two values of a field mean the same. A list of equal values means one value for every block."""
    lists = [list(each) if isinstance(each, list | tuple) else None for each in (one, other)]
    if lists[0] is None and lists[1] is not None:
        return all(_alike(one, each) for each in lists[1])
    if lists[1] is None and lists[0] is not None:
        return all(_alike(each, other) for each in lists[0])
    # diffusers treats None like a field that is off.
    return (one or None) == (other or None) if lists[0] is None else lists[0] == lists[1]
