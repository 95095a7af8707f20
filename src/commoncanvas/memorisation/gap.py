"""How much a prompt moves the first predictions of a model: large for prompts whose images it knows by heart.

Wen et al., "Detecting, Explaining, and Mitigating Memorization in Diffusion Models" (ICLR 2024, arXiv 2407.21720): the
magnitude of the difference between the prediction with the text and without it, in the first steps.

Shapes: B prompts in a batch, C latent channels, H and W latent cells.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from commoncanvas.diffusion.batches import Painter
from commoncanvas.diffusion.sampling import denoiser_of

STEPS = 3
"""First steps that are looked at: the difference is there from the first step on, and a mean varies less by noise."""
GUIDED = 2.0
"""Both predictions are made at any guidance above 1."""


class _Enough(Exception):
    """The first steps are done."""


def prediction_gaps(
    painter: Painter,
    prompts: Sequence[str],
    *,
    seeds: Sequence[int],
    steps: int,
    on_done: Callable[[int], object] = lambda count: None,
) -> NDArray[np.float64]:
    """[N] For each prompt the mean, over the first STEPS of `steps` sampling steps, of the root mean square difference
    between the denoiser's predictions with and without the text.

    The predictions are what the network predicts: noise, v, x_0 or a flow's velocity. At one timestep they differ by a
    factor only, so prompts of one model can be ordered, but two models can't be compared. `seeds`: of the noise.
    """
    gaps: list[float] = []
    while len(gaps) < len(prompts):
        found: list[Tensor] = []
        rest = prompts[len(gaps) :]
        images = painter.images(rest, seeds=seeds[len(gaps) :], guidance_scale=GUIDED, steps=steps)
        with _watched(painter.pipeline, found, min(STEPS, steps)), suppress(_Enough):
            next(images)
        made = torch.stack(found).mean(0).tolist()[: len(rest)]
        gaps += made
        on_done(len(made))
    return np.array(gaps, np.float64)


@contextmanager
def _watched(pipeline: Any, found: list[Tensor], steps: int) -> Iterator[None]:
    """Append to `found` the differences [B] of each step's two halves; raise _Enough after `steps`."""
    # PixArt's second half of the channels is a learned variance, which its pipeline drops.
    channels = pipeline.vae.config.latent_channels

    def look(module: Any, arguments: Any, output: Any) -> None:
        prediction = output[0] if isinstance(output, tuple) else output.sample
        without, with_text = prediction[:, :channels].float().chunk(2)
        if found and len(found[0]) != len(without):
            found.clear()  # the memory was too small for the batch, and a smaller one began
        found.append((with_text - without).square().flatten(1).mean(1).sqrt().cpu())
        if len(found) == steps:
            raise _Enough

    handle = denoiser_of(pipeline).register_forward_hook(look)
    try:
        yield
    finally:
        handle.remove()
