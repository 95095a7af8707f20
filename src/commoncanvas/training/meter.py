"""What a run measures of itself between two lines of its log."""

from __future__ import annotations

import math
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch


class Meter:
    """Counts from when it is made, or from the last `read`, on."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._reset()

    def _reset(self) -> None:
        self._began = time.monotonic()
        self._waited = self._busy = 0.0
        self._images = self._skipped = 0
        self._highest = {"loss_max": -math.inf, "grad_norm_max": -math.inf}

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Time that a step waits for its batch."""
        began = time.monotonic()
        yield
        self._waited += time.monotonic() - began

    def add(self, images: int, busy: float, loss: float, grad_norm: float, finite: bool) -> None:
        """Count a step. `busy`: seconds of one of its images, were the devices never idle."""
        self._images += images
        self._busy += images * busy
        if not finite:
            self._skipped += 1
            return
        for name, value in (("loss_max", loss), ("grad_norm_max", grad_norm)):
            self._highest[name] = max(self._highest[name], value)

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
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return float(peak if sys.platform == "darwin" else peak * 1024)
