"""What a diffusion recipe starts from, its `init`: a network's weights, and the noise schedule that they learned on."""

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
"""Fields of a network that its weights go on with whatever they are."""
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
"""Fields that are taken over besides, and what latent diffusion has where a scheduler says nothing of them."""
FLOW_SCHEDULE = ("num_train_timesteps", "prediction_type")
"""A flow has no betas."""


def check_init(recipe: DiffusionRecipe) -> tuple[str, ...]:
    """Look at what a recipe starts from before anything is loaded; a line says where its noise schedule differs.

    Raises ModelError if `init` isn't there, RecipeError if its network says something else than the recipe's is to
    learn.
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
    whole = find(recipe.init, "scheduler_config.json", "scheduler") is not None
    if kind != wanted and whole:
        raise RecipeError(
            f"{recipe.name}: init {recipe.init} has prediction_type {kind}, but noise.schedule.prediction_type is "
            f"{wanted}; set it to {kind}, or to train the network for {wanted}, give its own folder as init"
        )
    other = [
        f"{name} {theirs[name]!r}, not {ours[name]!r}"
        for name in (FLOW_SCHEDULE if FLOW in (kind, wanted) else SCHEDULE)
        if theirs.get(name, ours[name]) != ours[name]
    ]
    if not other:
        return ()
    return (
        f"{recipe.name}: the pipeline of init {recipe.init} has a different noise.schedule: {'; '.join(other)}; "
        f"to use it, add --noise.schedule {FROM_INIT}",
    )


def with_init_schedule(recipe: DiffusionRecipe) -> DiffusionRecipe:
    """The recipe with the noise schedule of its `init`, where it says from-init. Raises ModelError, RecipeError."""
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
    """The noise schedule of the pipeline that `init` is, or is a part of, as DDPMScheduler takes it; {} if it has none.

    What its file doesn't state is the default of its scheduler's class. Raises ModelError.
    """
    path = beside(init, "scheduler/scheduler_config.json")
    if path is None:
        return {}
    try:
        stated = json.loads(path.read_text(encoding="utf-8"))
        name = str(stated["_class_name"])
        if not name.endswith("Scheduler"):
            raise ValueError(f"{name} is not a scheduler")
        found = dict(getattr(diffusers, name).from_config(stated).config)
    except Exception as error:  # what an odd configuration makes a scheduler raise has no one base
        raise ModelError(f"init {init}: {path.name} can't be read: {one_line(error)}") from error
    if name.startswith("FlowMatch") or found.get("prediction_type") == FLOW:
        return {"num_train_timesteps": found["num_train_timesteps"], "prediction_type": FLOW}
    known = {field: found[field] for field in (*SCHEDULE, *SAMPLING) if field in found}
    return SAMPLING | {"prediction_type": "epsilon"} | known


def start(network: ModelMixin, recipe: DiffusionRecipe, name: str) -> None:
    """Put the weights of `recipe.init` into the network, which is its pipeline's part `name`. Raises RecipeError."""
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
    """What `start` would refuse, as far as configurations tell, without the weights; only of folders."""
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
    other = [
        f"{field} {value!r}"
        for field, value in theirs.items()
        if not field.startswith("_") and field not in FREE and not _alike(value, ours.get(field))
    ]
    if other or reason:
        has = f"it has {', '.join(other)}" if other else reason
        raise RecipeError(
            f"{recipe.name}: the network of init {recipe.init} differs from the recipe's; "
            f"change {name} to match it ({one_line(has)})"
        )


def _alike(one: Any, other: Any) -> bool:
    """Whether two values of a field say the same: a list of equal ones is one of them for every block."""
    lists = [list(each) if isinstance(each, list | tuple) else None for each in (one, other)]
    if lists[0] is None and lists[1] is not None:
        return all(_alike(one, each) for each in lists[1])
    if lists[1] is None and lists[0] is not None:
        return all(_alike(each, other) for each in lists[0])
    # diffusers takes a field that is None for one that is off.
    return (one or None) == (other or None) if lists[0] is None else lists[0] == lists[1]
