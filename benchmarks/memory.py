"""What `keep_freed_memory` gains: EfficientNet-Lite0's images/s with it against glibc's defaults, in turns.

Run: python benchmarks/memory.py [--rounds 5]. Each measurement is a process of its own; the ratio is of the medians.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys

CHILD = """
import sys, time
import torch
from commoncanvas.models.devices import keep_freed_memory
from commoncanvas.captioning import efficientnet
if sys.argv[1] == "keep":
    keep_freed_memory()
network = efficientnet.load()
images = torch.randint(0, 256, (32, 3, 224, 224), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
with torch.inference_mode():
    network(images)
    began = time.perf_counter()
    for _ in range(4):
        network(images)
print(4 * 32 / (time.perf_counter() - began))
"""


def measure(mode: str) -> float:
    done = subprocess.run([sys.executable, "-c", CHILD, mode], check=True, capture_output=True, text=True)
    return float(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    rates: dict[str, list[float]] = {"defaults": [], "keep": []}
    for _ in range(rounds):
        for mode, found in rates.items():
            found.append(measure(mode))
    for mode, found in rates.items():
        print(
            f"{mode:>8}: median {statistics.median(found):6.1f} images/s of {[round(rate) for rate in found]}"
        )
    print(f"   ratio: {statistics.median(rates['keep']) / statistics.median(rates['defaults']):.2f}")


if __name__ == "__main__":
    main()
