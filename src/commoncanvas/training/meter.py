"""Speed and other figures of a run between two lines of its log."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from commoncanvas.core.memory import peak_bytes

FEWEST = 5
"""With fewer steps, a single slow one could be the median."""


class Meter:
    """Measures from its creation, or since the last `read`."""

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
        """Count a step. `busy`: seconds per image if the devices were never idle."""
        self._images += images
        self._busy += images * busy
        self._steps.append(time.monotonic() - self._step_began)
        if not finite:
            self._skipped += 1
            return
        for name, value in (("loss_max", loss), ("grad_norm_max", grad_norm)):
            self._highest[name] = max(self._highest[name], value)

    def slowdown(self) -> str | None:
        """A message if the median step since the last `read` takes more than twice the fastest median before. It is
        given once, and again after a recovery. It needs at least FEWEST steps.
        """
        if len(self._steps) < FEWEST:
            return None
        now = statistics.median(self._steps)
        if now > 2 * self._fastest:
            known, self._slow = self._slow, True
            return None if known else f"a step now takes {now:.2g} s; before it took {self._fastest:.2g} s"
        self._fastest = min(self._fastest, now)
        self._slow = False
        return None

    def read(self) -> dict[str, float]:
        """Figures since the last `read`. mfu: model FLOP utilisation. data_wait: a share of the time. loss_max and
        grad_norm_max: they show spikes. peak_memory_gb: of the device, or of the process on a CPU.
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
