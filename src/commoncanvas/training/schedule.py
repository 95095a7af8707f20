"""The learning rate of each step, and how many first steps runs of different length have in common."""

from __future__ import annotations

import math

from commoncanvas.config import Recipe, TrainConfig


def learning_rate_at(step: int, config: TrainConfig) -> float:
    """Linear warm-up, then the schedule: constant; a cosine down to zero after the last step; or a trapezoid (arXiv
    2405.18392), which is constant and then linear down to zero after the last step.
    """
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    match config.schedule:
        case "constant":
            return config.learning_rate
        case "cosine":
            done = (step - config.warmup_steps) / max(1, config.steps - config.warmup_steps)
            return config.learning_rate * 0.5 * (1 + math.cos(math.pi * done))
    decay_steps = min(config.cooldown * config.steps, config.steps - config.warmup_steps)
    return config.learning_rate * min(1.0, (config.steps - step) / decay_steps)


def same_rates_until(recipe: Recipe, steps: int) -> int:
    """How many first steps a run of `steps` has in common, bit for bit, with the longer run of `recipe`."""
    if recipe.task == "diffusion" and recipe.noise.logit_normal_end is not None:
        return 0  # the timesteps of a step depend on the fraction of the training that is done
    longer = recipe.train
    shorter = longer.model_copy(update={"steps": steps})
    for step in range(steps):
        if learning_rate_at(step, shorter) != learning_rate_at(step, longer):
            return step
    # The average always takes in the last step's weights, even between its intervals.
    between = longer.ema_decay is not None and (steps - longer.ema_start) % longer.ema_every
    return steps - 1 if between else steps
