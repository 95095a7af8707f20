"""What the trainer adds to a step: images a second of `train`, against the bare forward, backward and optimiser step.

Run after the demo: python benchmarks/training.py [--demo demo] [--rounds 5] [--steps 100]. XS, on a copy of the demo's
catalog, on the CPU. The bare step has the same network, attention and all, one batch in memory, its draws made
beforehand, and AdamW on all weights; `train` reads its batches from the catalog, draws, clips, averages and logs. Both
are timed after ten steps, in turn, ten steps at once; a round's figure is the median of these, so that what else the
machine does for a moment does not count. A round of `train` is compared with the mean of the bare ones before and after
it, so that a machine that gets slower or faster meanwhile does not count either.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import torch

from commoncanvas.config import Recipe, load_recipe
from commoncanvas.models.devices import pick_device, precision_on
from commoncanvas.training.log import read_log
from commoncanvas.training.optimizations import apply_tricks
from commoncanvas.training.task import first_batch
from commoncanvas.training.tasks.make import make_task
from commoncanvas.training.trainer import train

WARM = 10


def bare(recipe: Recipe, steps: int) -> float:
    """Images a second of the loss's forward and backward pass and AdamW's step."""
    pick_device("cpu")  # as `train` does: freed memory is kept
    torch.manual_seed(recipe.seed)
    task = make_task(recipe)
    size = recipe.train.batch_size
    batch = first_batch(task, size)
    model = apply_tricks(task.model, recipe.train, recipe.name).train()
    optimizer = torch.optim.AdamW(model.parameters(), recipe.train.learning_rate, fused=True)
    precision = precision_on(torch.device("cpu"), recipe.train.precision)
    times = []
    for step in range(WARM + steps + 1):
        if step % WARM == 0:
            times.append(time.monotonic())
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            loss = task.loss(model, batch)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return rate(times[1:], size)


def trained(recipe: Recipe) -> float:
    """Images a second of `train`, from step WARM to the last, by its own log."""
    train(recipe)
    log = read_log(Path(f"{recipe.out}-run/log.jsonl"))
    return rate([entry["seconds"] for entry in log if entry["step"] % WARM == 0], recipe.train.batch_size)


def rate(times: list[float], size: int) -> float:
    """Images a second, of times that are WARM steps apart."""
    return WARM * size / statistics.median(later - sooner for sooner, later in pairwise(times))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--demo", type=Path, default=Path("demo"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=100)
    options = parser.parse_args()
    ratios = []
    with tempfile.TemporaryDirectory() as name:
        catalog = Path(name) / "catalog.lance"
        shutil.copytree(options.demo / "catalog.lance", catalog)
        sooner = None
        for number in range(options.rounds):
            words = ["--data.catalog", str(catalog), "--vae", str(options.demo / "xs-autoencoder")]
            words += ["--out", f"{name}/{number}", "--train.steps", str(WARM + options.steps)]
            words += ["--train.log_every", str(WARM), "--train.warmup_steps", "0", "--train.device", "cpu"]
            recipe = load_recipe("xs", [*words, "--train.sample_every", "null"])
            sooner = sooner or bare(recipe, options.steps)
            found, later = trained(recipe), bare(recipe, options.steps)
            ratios.append(2 * found / (sooner + later))
            print(
                f"bare {sooner:.1f}, train {found:.1f}, bare {later:.1f} images/s: {ratios[-1]:.1%}",
                flush=True,
            )
            sooner = later
    print(f"train has {statistics.median(ratios):.1%} of the bare step's images/s (median of {len(ratios)})")


if __name__ == "__main__":
    main()
