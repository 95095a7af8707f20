"""Who draws a batch of images: this process, or another one behind the same protocol."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import torch

from commoncanvas.diffusion.batches import preview
from commoncanvas.drawing.model import LoadedModel
from commoncanvas.drawing.requests import Request
from commoncanvas.options.generate import DrawOptions

if TYPE_CHECKING:
    from PIL.Image import Image

OnStep = Callable[[range, int, Mapping[int, "Image"]], None]
"""(places, step, unfinished images by place): the images at these places of the batch did a step. What it raises stops
the batch.
"""


class Drawer(Protocol):
    """Draws batches. An image depends on its own request alone."""

    @property
    def model(self) -> LoadedModel:
        """Tokenizer, sizes and settings; the weights may be elsewhere."""

    @property
    def weights(self) -> Any:
        """The pipeline, if its weights are in this process; else None."""

    @property
    def lanes(self) -> int:
        """Batches that it draws at the same time, each in a thread of the caller."""

    @property
    def alive(self) -> int:
        """How many replicas can draw now."""

    def batch_size(self, options: DrawOptions) -> int:
        """Images of a batch with this size."""

    def images(
        self, requests: Sequence[Request], unfinished: Sequence[set[int]], on_step: OnStep
    ) -> list[Image]:
        """The images of requests whose settings are equal but for seeds and negative prompts.

        `unfinished`: for each, the steps after which `on_step` gets its unfinished image. `on_step` is called after
        these and most other steps.
        """

    def close(self) -> None:
        """End what draws."""


class LocalDrawer:
    """Draws in the calling thread, with `threads` torch threads; by default as many as this thread has."""

    lanes = alive = 1

    def __init__(self, model: LoadedModel, threads: int | None = None) -> None:
        self.model = model
        self.weights = model.pipeline
        self._threads = threads or torch.get_num_threads()

    def batch_size(self, options: DrawOptions) -> int:
        return self.model.painter.batch_size(options.height or 0, options.width or 0)

    def images(
        self, requests: Sequence[Request], unfinished: Sequence[set[int]], on_step: OnStep
    ) -> list[Image]:
        # The number decides the last bits of an image. torch has it for each thread on its own.
        torch.set_num_threads(self._threads)
        options = requests[0].options
        assert options.guidance_scale is not None and options.steps is not None

        def after(first: int, step: int, latents_BCHW: Any) -> None:
            places = range(first, min(first + len(latents_BCHW), len(requests)))
            unfinished_images = {
                place: preview(self.model.pipeline, latents_CHW[None])[0]
                for place, latents_CHW in zip(places, latents_BCHW, strict=False)
                if step in unfinished[place]
            }
            on_step(places, step, unfinished_images)

        return list(
            self.model.painter.images(
                [request.prompt for request in requests],
                negative_prompts=[request.options.negative_prompt for request in requests],
                seeds=[request.options.seed for request in requests],
                guidance_scale=options.guidance_scale,
                steps=options.steps,
                height=options.height,
                width=options.width,
                precision=options.precision,
                on_step=after,
            )
        )

    def close(self) -> None:
        """Nothing to end."""
