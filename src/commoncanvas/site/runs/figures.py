"""What the figures of a log are called, and how they are drawn."""

from __future__ import annotations

from typing import NamedTuple


class Figure(NamedTuple):
    """`title`: for people. `noisy`: whether a running mean says more than the value. `auto_log`: whether values that
    differ by much are drawn on a logarithmic scale.
    """

    title: str
    unit: str = ""
    noisy: bool = False
    auto_log: bool = False


KNOWN = {
    "loss": Figure("Loss", noisy=True, auto_log=True),
    "validation_loss": Figure("Loss of held-out rows", auto_log=True),
    "learning_rate": Figure("Learning rate"),
    "grad_norm": Figure("Gradient norm", noisy=True, auto_log=True),
    "images_per_s": Figure("Throughput", "images/s", noisy=True),
    "peak_memory_gb": Figure("Peak memory", "GB"),
    "mfu": Figure("Model FLOP utilisation", "share", noisy=True),
    "data_wait": Figure("Waiting for data", "share of the time", noisy=True),
    "loss_max": Figure("Highest loss since the last line", noisy=True, auto_log=True),
    "grad_norm_max": Figure("Highest gradient norm since the last line", noisy=True, auto_log=True),
    "skipped": Figure("Skipped steps since the last line"),
    "threads": Figure("Threads"),
    "seconds": Figure("Time since the start", "s"),
}
"""What `train` writes."""
HELD_OUT = "validation/"


def about(name: str) -> Figure:
    """A figure that is not KNOWN has its own name."""
    if name.startswith(HELD_OUT):
        return Figure(f"Held-out prompts: {name.removeprefix(HELD_OUT)}")
    return KNOWN.get(name, Figure(name, noisy=True))
