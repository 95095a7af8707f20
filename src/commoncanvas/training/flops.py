"""Model FLOP utilisation: what a step needs to compute, over what the device could in the time."""

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
"""Side of the square matrices whose product a device's peak is measured by; large enough to keep it busy."""
TRIES = 8
PATIENCE_S = 1.0
"""No further try after so long: where a precision is slow, the first says so."""


@torch.no_grad()
def sample_flops(task: Task, model: nn.Module, batch: Batch) -> float:
    """FLOPs of matrix products and convolutions, forward and backward, for one sample; a multiply-add is two.

    The loss of one sample is computed once, without a gradient: the backward pass counts twice the forward one's, and
    what activation checkpointing computes again counts nothing (arXiv 2204.02311, appendix B).
    """
    one = {name: tensor[:1] for name, tensor in batch.items()}
    counter = FlopCounterMode(display=False)
    training = model.training
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            module.eval()  # it learns nothing from this
    # The counter does not know the CPU's fused attention; by its formula it is two products.
    with torch.compiler.set_stance("force_eager"), sdpa_kernel(SDPBackend.MATH), counter:
        task.loss(model, one)
    model.train(training)
    return 3.0 * counter.get_total_flops()


def peak_flops(device: torch.device, dtype: torch.dtype) -> float:
    """FLOP/s of the device's matrix products: by its data sheet (`plan`'s table, bf16), or else as measured now."""
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
