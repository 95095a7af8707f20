"""Exponential moving average of a model's weights."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn


class EMA:
    """ema <- decay * ema + (1 - decay) * weights, with the decay ramped up over the first steps.

    The ramp, min(decay, (1 + step) / (10 + step)), is TensorFlow's `num_updates` rule: without it a short run's
    average would remember its random start.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self._average = _tensors(self.model)

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(self._average, _tensors(model), 1.0 - decay)


def _tensors(model: nn.Module) -> list[Tensor]:
    """Parameters, then floating-point buffers (batch norm's statistics are averaged too)."""
    return [*model.parameters(), *(buffer for buffer in model.buffers() if buffer.is_floating_point())]
