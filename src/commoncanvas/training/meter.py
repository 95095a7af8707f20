"""What a run measures of itself between two lines of its log."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from commoncanvas.core.memory import peak_bytes

FEWEST = 5
"""Of fewer steps one slow one could be the median."""


class Meter:
    """Counts from when it is made, or from the last `read`, on."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._fastest = math.inf
        self._slow = False
        self._reset()

    def _reset(self) -> None:
        self._began = time.monotonic()
        self._waited = self._busy = 0.0
        self._images = self._skipped = 0
        self._steps: list[float] = []
        self._highest = {"loss_max": -math.inf, "grad_norm_max": -math.inf}

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Time that a step waits for its batch."""
        self._step_began = time.monotonic()
        yield
        self._waited += time.monotonic() - self._step_began

    def add(self, images: int, busy: float, loss: float, grad_norm: float, finite: bool) -> None:
        """Count a step. `busy`: seconds of one of its images, were the devices never idle."""
        self._images += images
        self._busy += images * busy
        self._steps.append(time.monotonic() - self._step_began)
        if not finite:
            self._skipped += 1
            return
        for name, value in (("loss_max", loss), ("grad_norm_max", grad_norm)):
            self._highest[name] = max(self._highest[name], value)

    def slowdown(self) -> str | None:
        """In words, when a step since the last `read` takes twice as long as the fastest before; said once, and again
        after a recovery. By the median of the steps, of which there must be FEWEST.
        """
        if len(self._steps) < FEWEST:
            return None
        now = statistics.median(self._steps)
        if now > 2 * self._fastest:
            said, self._slow = self._slow, True
            return None if said else f"a step now takes {now:.2g} s; before it took {self._fastest:.2g} s"
        self._fastest = min(self._fastest, now)
        self._slow = False
        return None

    def read(self) -> dict[str, float]:
        """images_per_s; mfu, model FLOP utilisation; data_wait, a share of the time; the highest loss and gradient
        norm, where spikes show; steps that were skipped; peak_memory_gb of the device, or of the process where that
        is the CPU.
        """
        seconds = time.monotonic() - self._began
        found = {
            "images_per_s": self._images / seconds,
            "mfu": self._busy / seconds,
            "data_wait": self._waited / seconds,
            **{name: value for name, value in self._highest.items() if math.isfinite(value)},
            "skipped": self._skipped,
            "peak_memory_gb": self._peak() / 1e9,
        }
        self._reset()
        return found

    def _peak(self) -> float:
        if self._device.type == "cuda":
            return float(torch.cuda.max_memory_allocated(self._device))
        return float(peak_bytes())
