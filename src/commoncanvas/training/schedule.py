"""The learning rate over a training, and how far two trainings of different length do the same."""

from __future__ import annotations

import math

from commoncanvas.config import Recipe, TrainConfig


def learning_rate_at(step: int, config: TrainConfig) -> float:
    """Linear warm-up, then constant, a cosine down to zero after the last step, or (trapezoid: arXiv 2405.18392)
    constant and a line down to zero after the last step.
    """
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    match config.schedule:
        case "constant":
            return config.learning_rate
        case "cosine":
            done = (step - config.warmup_steps) / max(1, config.steps - config.warmup_steps)
            return config.learning_rate * 0.5 * (1 + math.cos(math.pi * done))
    going_down = min(config.cooldown * config.steps, config.steps - config.warmup_steps)
    return config.learning_rate * min(1.0, (config.steps - step) / going_down)


def alike_until(recipe: Recipe, steps: int) -> int:
    """The first steps that a training of `steps` has in common with a longer one, that of `recipe`, bit for bit."""
    if recipe.task == "diffusion" and recipe.noise.logit_normal_end is not None:
        return 0  # what a step draws depends on the share of the training that lies behind
    longer = recipe.train
    shorter = longer.model_copy(update={"steps": steps})
    for step in range(steps):
        if learning_rate_at(step, shorter) != learning_rate_at(step, longer):
            return step
    # The last step's weights enter the average out of turn.
    out_of_turn = longer.ema_decay is not None and (steps - longer.ema_start) % longer.ema_every
    return steps - 1 if out_of_turn else steps
