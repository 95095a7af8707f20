"""Files of trainings, as `train` writes them."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from commoncanvas.images.grid import save_grid

COLOURS = ("red", "green", "blue")


def entry(step: int, **more: Any) -> dict[str, Any]:
    """One line of a log."""
    loss = 2 * math.exp(-step / 300) + 0.1 * math.sin(step)
    return {
        "step": step,
        "loss": loss + 0.3,
        "grad_norm": 1 + 0.5 * math.cos(step),
        "learning_rate": 1e-3 * (1 - step / 2000),
        "images_per_s": 250.0,
        "peak_memory_gb": 2.1,
        "seconds": step / 10,
    } | more


def lines(entries: Iterable[dict[str, Any]]) -> str:
    return "".join(json.dumps(each) + "\n" for each in entries)


def write_run(
    folder: Path,
    steps: Iterable[int] = range(10, 510, 10),
    of: int = 1000,
    prompts: Sequence[str] = ("a deer", "a red car"),
    **recipe: Any,
) -> Path:
    """A run with a log, a record and samples at two steps."""
    (folder / "samples").mkdir(parents=True)
    (folder / "log.jsonl").write_text(lines(entry(step) for step in steps), encoding="utf-8")
    fields = {"name": "xs", "seed": 17, "train": {"steps": of, "learning_rate": 0.001}, **recipe}
    (folder / "run.json").write_text(json.dumps({"recipe": fields}), encoding="utf-8")
    for number, step in enumerate((100, 200)):
        images = [Image.new("RGB", (32, 32), COLOURS[(number + place) % 3]) for place in range(len(prompts))]
        save_grid(images, prompts, folder / "samples" / f"step-{step:08d}.png")
    return folder


def silent(folder: Path, seconds: float = 7200) -> Path:
    """As if the last line were from long ago."""
    then = time.time() - seconds
    os.utime(folder / "log.jsonl", (then, then))
    return folder
