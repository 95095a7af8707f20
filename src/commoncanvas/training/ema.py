"""Exponential moving average of a model's weights."""

from __future__ import annotations

import torch
from torch import nn

from commoncanvas.training.distributed.sharding import local


class EMA:
    """ema <- decay * ema + (1 - decay) * weights, with the decay ramped up over the first steps; every so many steps,
    by the decay to their power, to read and write all weights less often.

    The ramp, min(decay, (1 + step) / (10 + step)), is TensorFlow's `num_updates` rule: without it a short run's
    average would remember its random start. Of sharded weights each process averages its own shards.
    """

    def __init__(self, model: nn.Module, decay: float, every: int = 1) -> None:
        self.decay = decay
        self.every = every
        # Parameters, and floating-point buffers (batch norm's statistics are averaged too): themselves, as the
        # optimiser has them. To list them anew each step takes longer than to average them.
        held = model.state_dict(keep_vars=True)
        self._weights = {name: tensor for name, tensor in held.items() if tensor.is_floating_point()}
        self.tensors = {name: tensor.detach().clone() for name, tensor in self._weights.items()}
        """By the names that they have in the model."""

    @torch.no_grad()
    def update(self, step: int, last: bool = False) -> None:
        """Take in the weights after step `step` of the average, from 0 on: those of every so many, and the last's."""
        steps = step % self.every + 1
        if steps < self.every and not last:
            return
        decay = min(self.decay, (1 + step) / (10 + step)) ** steps
        averages = [local(tensor) for tensor in self.tensors.values()]
        torch._foreach_lerp_(averages, [local(tensor) for tensor in self._weights.values()], 1.0 - decay)
