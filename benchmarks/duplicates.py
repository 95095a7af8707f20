"""Near duplicates among a million perceptual hashes: seconds, recall, and brute force beside it.

Run: python benchmarks/duplicates.py [--rows 1000000] [--distance 6] [--rounds 3]. Brute force (numpy, every pair) gives
the recall on 20,000 rows; where faiss is installed, its exact IndexBinaryFlat is timed on 100,000 rows too.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from commoncanvas.catalog.curating.neighbours import near_groups, stand_ins

Hashes = NDArray[np.uint64]
SAMPLE, PEER_ROWS = 20_000, 100_000


def made(rows: int, distance: int, seed: int = 0) -> Hashes:
    """Hashes as pHash makes them (signs of 64 numbers about their median): 5 % are copies with up to `distance` bits
    changed, 1 % are blank, 1 % nearly blank.
    """
    draw = np.random.default_rng(seed)
    hashes = np.empty(rows, np.uint64)
    for start in range(0, rows, 100_000):
        numbers = draw.standard_normal((min(100_000, rows - start), 64), np.float32)
        bits = numbers > np.median(numbers, axis=1, keepdims=True)
        hashes[start : start + len(bits)] = np.packbits(bits, axis=1).view(">u8")[:, 0]
    part = rows // 100
    flips = draw.integers(0, 64, (distance, 5 * part)).astype(np.uint64)
    flips = np.uint64(1) << flips
    flips[draw.random(flips.shape) < 0.5] = 0
    hashes[: 5 * part] = hashes[draw.integers(5 * part, rows, 5 * part)] ^ np.bitwise_xor.reduce(flips)
    hashes[-2 * part :] = 1 << 63
    for _ in range(3):
        hashes[-part:] ^= np.uint64(1) << draw.integers(0, 64, part).astype(np.uint64)
    return draw.permutation(hashes)


def brute_pairs(hashes: Hashes, distance: int) -> NDArray[np.int64]:
    found = []
    for row in range(len(hashes) - 1):
        near = np.flatnonzero(np.bitwise_count(hashes[row + 1 :] ^ hashes[row]) <= distance)
        found.append(np.stack([np.full(len(near), row), row + 1 + near], axis=1))
    return np.concatenate(found)


def faiss_pairs(hashes: Hashes, distance: int) -> int:
    import faiss

    index = faiss.IndexBinaryFlat(64)
    codes = hashes.view(np.uint8).reshape(-1, 8)
    index.add(codes)
    limits, *_ = index.range_search(codes, distance + 1)
    return int(limits[-1])


def median(rounds: int, run: Callable[[], object]) -> float:
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        run()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--distance", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    rounds, distance = arguments.rounds, arguments.distance

    sample = np.unique(made(SAMPLE, distance))
    left, right = brute_pairs(sample, distance).T
    groups = near_groups(sample, distance)
    recall = np.mean(groups[left] == groups[right])
    print(
        f"{len(sample):,} distinct hashes, distance {distance}: {len(left):,} pairs by brute force, ", end=""
    )
    print(f"{recall:.4f} of them in one group")
    slow, fast = (
        median(rounds, lambda: brute_pairs(sample, distance)),
        median(rounds, lambda: near_groups(sample, distance)),
    )
    print(f"  brute force {slow:.2f} s, near_groups {fast:.2f} s: {slow / fast:.1f} times as fast")

    hashes = np.unique(made(PEER_ROWS, distance))
    fast = median(rounds, lambda: near_groups(hashes, distance))
    try:
        slow = median(rounds, lambda: faiss_pairs(hashes, distance))
        print(f"{len(hashes):,} distinct hashes: faiss IndexBinaryFlat {slow:.1f} s, ", end="")
        print(f"near_groups {fast:.2f} s: {slow / fast:.1f} times as fast")
    except ImportError:
        print(f"{len(hashes):,} distinct hashes: near_groups {fast:.2f} s (faiss is not installed)")

    for rows in (arguments.rows // 10, arguments.rows):
        hashes = made(rows, distance)
        seconds = median(rounds, lambda hashes=hashes: stand_ins(hashes, distance))  # type: ignore[misc]
        print(f"{rows:,} rows: stand_ins {seconds:.1f} s, {1e6 * seconds / rows:.1f} µs a row")


if __name__ == "__main__":
    main()
