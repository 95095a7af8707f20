"""Exponential moving average of a model's weights."""

from __future__ import annotations

from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from commoncanvas.training.distributed.sharding import local


class EMA:
    """ema <- decay * ema + (1 - decay) * weights, with the decay ramped up over the first steps.

    It is updated after every `every` steps, with the decay to that power, to read and write the weights less often.
    The ramp, min(decay, (1 + step) / (10 + step)), is TensorFlow's `num_updates` rule: without it the average
    of a short run would still contain its random start. Each process averages its own shards.
    """

    def __init__(self, model: nn.Module, decay: float, every: int = 1) -> None:
        self.decay = decay
        self.every = every
        # Parameters and floating-point buffers (batch norm's statistics too): the tensors themselves, not copies.
        # They are listed once, because listing takes longer than averaging.
        state = model.state_dict(keep_vars=True)
        self._weights = {name: tensor for name, tensor in state.items() if tensor.is_floating_point()}
        self.tensors = {name: tensor.detach().clone() for name, tensor in self._weights.items()}
        """The averages, by the names of the weights in the model."""

    def update(self, step: int, last: bool = False) -> None:
        """Update the average after its step `step` (from 0), if that completes an interval or is the last."""
        steps = step % self.every + 1
        if steps < self.every and not last:
            return
        decay = min(self.decay, (1 + step) / (10 + step)) ** steps
        averages = [local(tensor) for tensor in self.tensors.values()]
        weights = [local(tensor) for tensor in self._weights.values()]
        get_ema_multi_avg_fn(decay)(averages, weights, None)  # type: ignore[no-untyped-call]
