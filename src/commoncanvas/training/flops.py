"""Model FLOP utilisation: FLOPs that a step needs, divided by what the device can do in the same time."""

from __future__ import annotations

import time

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.flop_counter import FlopCounterMode

from commoncanvas.models.data_sheets import reported_as
from commoncanvas.training.task import Batch, Task

SIDES = {"cpu": 1024, "cuda": 8192}
"""Side of the square matrices that are multiplied to measure a device's peak; large enough to keep it busy."""
TRIES = 8
PATIENCE_S = 1.0
"""Stop measuring after this time; if a precision is slow, one try is enough."""


@torch.no_grad()
def sample_flops(task: Task, model: nn.Module, batch: Batch) -> float:
    """FLOPs of matrix products and convolutions, forward and backward, for one sample; a multiply-add is two.

    The loss of one sample is computed once, without a gradient. The backward pass counts as twice the forward pass.
    Recomputation by activation checkpointing does not count (arXiv 2204.02311, appendix B).
    """
    sample = {name: tensor[:1] for name, tensor in batch.items()}
    counter = FlopCounterMode(display=False)
    training = model.training
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            module.eval()  # so that its statistics stay the same
    # The counter does not know the CPU's fused attention, so use plain attention: two matrix products.
    with torch.compiler.set_stance("force_eager"), sdpa_kernel(SDPBackend.MATH), counter:
        task.loss(model, sample)
    model.train(training)
    return 3.0 * counter.get_total_flops()


def peak_flops(device: torch.device, dtype: torch.dtype) -> float:
    """FLOP/s of the device's matrix products: from its data sheet (`plan`'s table, bf16), or else measured."""
    if device.type == "cuda" and dtype == torch.bfloat16:
        known = reported_as(torch.cuda.get_device_name(device))
        if known and known.bf16:
            return known.peak
    side = SIDES.get(device.type, 2048)
    matrix = torch.ones(side, side, device=device, dtype=dtype)
    taken = [_seconds(matrix)]
    while len(taken) < TRIES and sum(taken) < PATIENCE_S:
        taken.append(_seconds(matrix))
    return 2 * side**3 / min(taken)


def _seconds(matrix: torch.Tensor) -> float:
    began = time.perf_counter()
    (matrix @ matrix)[0, 0].item()  # waits for the device
    return time.perf_counter() - began
