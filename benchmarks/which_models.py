"""Which models saw an image: milliseconds for a model folder of many rows, with and without the first reading.

Run: python benchmarks/which_models.py [--rows 1000000] [--asked 50]. The rows are in no order, as after a shuffle. The
baseline is a scan of the column image_id for each question, with Arrow's filter.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from commoncanvas.provenance.seen import seen


def write_rows(path: Path, rows: int) -> list[str]:
    """rows.parquet as `train` writes it; its ids."""
    numbers = np.random.default_rng(0).permutation(rows) + 10**9
    ids = [f"commoncatalog:{number}" for number in numbers.tolist()]
    columns = {
        "image_id": ids,
        "split": ["heldout" if number % 10 == 0 else "train" for number in numbers.tolist()],
        "catalog": ["main"] * rows,
        "text": [f"a caption of picture {number}" for number in numbers.tolist()],
    }
    pq.write_table(pa.table(columns), path)
    return ids


def milliseconds(ask: Callable[[str], object], ids: list[str]) -> float:
    """Median of the questions about each of the ids."""
    taken = []
    for one in ids:
        start = time.perf_counter()
        ask(one)
        taken.append(1000 * (time.perf_counter() - start))
    return statistics.median(taken)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--asked", type=int, default=50)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / "rows.parquet"

        def ours(image_id: str) -> object:
            return seen(folder, {}, [image_id])

        def scan(image_id: str) -> object:
            return ds.dataset(path).to_table(["split"], filter=ds.field("image_id") == image_id)

        there = write_rows(path, args.rows)[:: max(1, args.rows // args.asked)][: args.asked]
        print(f"{args.rows:,} rows: first question {milliseconds(ours, there[:1]):,.0f} ms")
        lacking = [f"{one}-b" for one in there]
        for title, ids in (("an image that it has", there), ("an image that it lacks", lacking)):
            print(f"{title}: {milliseconds(ours, ids):.3f} ms; scan {milliseconds(scan, ids):,.1f} ms")


if __name__ == "__main__":
    main()
