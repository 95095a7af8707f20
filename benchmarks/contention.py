"""Training beside another program that keeps one core busy: images a second, against the quiet machine's.

Run after the demo: python benchmarks/contention.py [--demo demo] [--rounds 3] [--steps 60]. The XS autoencoder trains
on a copy of the demo's catalog, on the CPU, each time in a process of its own. In each round four trainings take turns:
with threads that follow the free cores (the default) and with a fixed number (OMP_NUM_THREADS, as many as cores), each
on the quiet machine and beside a loop that never sleeps. Nothing else must run meanwhile.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from contextlib import AbstractContextManager, ExitStack
from itertools import pairwise, product
from pathlib import Path

from commoncanvas.training.log import read_log

EVERY = 10
"""Steps between two lines of the log; the first of them are not counted."""


def measure(options: argparse.Namespace, folder: Path, fixed: bool, busy: bool) -> float:
    """Images a second of one training: all steps after the first EVERY."""
    words = [
        "xs-autoencoder",
        "--data.catalog",
        str(folder / "catalog.lance"),
        "--out",
        str(folder / "model"),
    ]
    words += ["--train.steps", str(options.steps), "--train.log_every", str(EVERY), "--train.device", "cpu"]
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    if fixed:
        environment["OMP_NUM_THREADS"] = str(len(os.sched_getaffinity(0)))
    with ExitStack() as held:
        if busy:
            loop: AbstractContextManager[subprocess.Popen[bytes]] = subprocess.Popen(
                [sys.executable, "-c", "while True: pass"]
            )
            held.callback(held.enter_context(loop).kill)
        command = [sys.executable, "-m", "commoncanvas", "train", *words, "--train.sample_every", "null"]
        subprocess.run(command, env=environment, check=True, capture_output=True)
    log = read_log(folder / "model-run" / "log.jsonl")
    shutil.rmtree(folder / "model")
    shutil.rmtree(folder / "model-run")
    seconds = sum(after["seconds"] - before["seconds"] for before, after in pairwise(log))
    return (log[-1]["step"] - log[0]["step"]) * 16 / seconds


def said(fixed: bool, busy: bool) -> str:
    return f"{'fixed' if fixed else 'following'} threads, {'beside a busy program' if busy else 'quiet'}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--demo", type=Path, default=Path("demo"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=60)
    options = parser.parse_args()
    kinds = list(product((False, True), (False, True)))
    found: dict[tuple[bool, bool], list[float]] = {kind: [] for kind in kinds}
    with tempfile.TemporaryDirectory() as name:
        shutil.copytree(options.demo / "catalog.lance", Path(name) / "catalog.lance")
        for _ in range(options.rounds):
            for kind in kinds:
                found[kind].append(measure(options, Path(name), *kind))
                print(f"{said(*kind)}: {found[kind][-1]:.1f} images/s", flush=True)
    middle = {kind: statistics.median(rates) for kind, rates in found.items()}
    for (fixed, busy), rates in found.items():
        share = middle[fixed, busy] / middle[fixed, False]
        print(
            f"{said(fixed, busy)}: median {middle[fixed, busy]:6.1f} images/s ({share:.0%} of quiet) "
            f"of {[round(rate, 1) for rate in rates]}"
        )
    print(f"quiet, following against fixed: {middle[False, False] / middle[True, False]:.1%}")


if __name__ == "__main__":
    main()
