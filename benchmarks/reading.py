"""Bytes a sample, and rows a second shuffled for training: encoded columns against mosaicml-streaming's MDS.

Run: python benchmarks/reading.py [--peer-venv FOLDER] [--rows 8000] [--rounds 3]. Samples as SD2's encoders make them
at 256 pixels: latents 4 x 32 x 32, text states of 1,024 values a token. Ours: fp16 and fp8 columns of 32 tokens, read
as training reads them (random batches by row id, on threads ahead of the reader; fp8 becomes numbers on the device).
The peer: an MDS file of fp16 of 77 tokens, as mosaicml/diffusion keeps them, and one of 32, read by a shuffled
StreamingDataset in a DataLoader of 2 workers that makes tensors. Batches of 32; a whole epoch each, after one that
warms the disk's cache up.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pyarrow as pa

from encoding import peer_venv, run

LATENT, WIDTH, BATCH = (4, 32, 32), 1024, 32

WRITE = """
import sys
import numpy as np
from streaming import MDSWriter
out, rows, tokens = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
draw = np.random.default_rng(0)
with MDSWriter(out=out, columns={"latents_256": "bytes", "caption_latents": "bytes"}, size_limit=256 * 2**20) as writer:
    for _ in range(rows):
        latents, states = draw.standard_normal((4, 32, 32)), draw.standard_normal((tokens, 1024))
        writer.write({
            "latents_256": latents.astype(np.float16).tobytes(), "caption_latents": states.astype(np.float16).tobytes()
        })
"""

READ = """
import json, sys, time
import numpy as np
import torch
from streaming import StreamingDataset
from torch.utils.data import DataLoader

class Samples(StreamingDataset):
    def __getitem__(self, index):
        sample = super().__getitem__(index)
        latents = np.frombuffer(sample["latents_256"], np.float16).copy().reshape(4, 32, 32)
        states = np.frombuffer(sample["caption_latents"], np.float16).copy().reshape(-1, 1024)
        return {"latents": torch.from_numpy(latents), "text": torch.from_numpy(states)}

if __name__ == "__main__":
    workers = int(sys.argv[2])
    dataset = Samples(local=sys.argv[1], shuffle=True, batch_size=32)
    options = {"prefetch_factor": 2, "persistent_workers": True} if workers else {}
    loader = DataLoader(dataset, batch_size=32, num_workers=workers, **options)
    for epoch in range(2):
        began, count = time.perf_counter(), 0
        for batch in loader:
            count += len(batch["latents"])
    print(json.dumps(count / (time.perf_counter() - began)))
"""


def write_ours(uri: Path, rows: int, storage: str) -> None:
    import torch

    from commoncanvas.catalog import Catalog
    from commoncanvas.encoding.states import state_type, to_column
    from commoncanvas.table.schema import to_batch

    shapes = {"latent": LATENT, "text": (32, WIDTH)}

    class Random:
        """A stage that makes states up."""

        name, reads, batch_size, done_column, todo = "random", ("source",), 256, "latent", "latent IS NULL"
        writes = tuple(pa.field(name, state_type(shape, storage)) for name, shape in shapes.items())

        def setup(self) -> None:
            self.draw = torch.Generator().manual_seed(0)

        def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
            columns = [
                to_column(torch.randn(len(batch), *shape, generator=self.draw), storage, name)
                for name, shape in shapes.items()
            ]
            return pa.RecordBatch.from_arrays(columns, names=list(shapes))

    catalog = Catalog.create(uri)
    catalog.add(
        [to_batch([{"image_id": f"a:{n}", "source": "a"} for n in range(start, start + 1000)])
         for start in range(0, rows, 1000)]
    )  # fmt: skip
    catalog.backfill(Random())


def read_ours(uri: Path) -> float:
    """Rows a second of an epoch, as the trainer reads them."""
    from commoncanvas.catalog import Catalog
    from commoncanvas.encoding.states import stored
    from commoncanvas.models.devices import keep_freed_memory
    from commoncanvas.training.loader import prefetch
    from commoncanvas.training.order import Order

    keep_freed_memory()  # as training on a CPU has it
    catalog = Catalog.open(uri)
    ids = catalog.table(["image_id"], with_row_id=True)["_rowid"].to_numpy()
    order = Order(0, len(ids))

    def read(step: int) -> dict[str, object]:
        table = catalog.take(ids[order.batch(step, BATCH).positions], ["latent", "text"])
        return {"latents": stored(table["latent"], LATENT), "text": stored(table["text"], (32, WIDTH))}

    steps = len(ids) // BATCH
    rate = 0.0
    for epoch in range(2):
        began = time.perf_counter()
        for _ in prefetch(read, epoch * steps, (epoch + 1) * steps):
            pass
        rate = steps * BATCH / (time.perf_counter() - began)
    return rate


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    temporary = Path(tempfile.gettempdir())
    parser.add_argument("--peer-venv", type=Path, default=temporary / "commoncanvas-streaming")
    parser.add_argument("--rows", type=int, default=8000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2, help="the peer's DataLoader's")
    parser.add_argument("--read", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.read:  # in a process of its own, as the peer is
        print(json.dumps(read_ours(Path(options.read))))
        return
    python = peer_venv(options.peer_venv)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for storage in ("fp16", "fp8"):
            write_ours(folder / f"ours {storage} 32", options.rows, storage)
        for tokens in (77, 32):
            run(python, WRITE, folder / f"MDS fp16 {tokens}", options.rows, tokens)
        sets = sorted(path for path in folder.iterdir())
        rates: dict[str, list[float]] = {path.name: [] for path in sets}
        for _ in range(options.rounds):
            for path in sets:
                if path.name.startswith("MDS"):
                    rates[path.name].append(json.loads(run(python, READ, path, options.workers)))
                else:
                    command = [sys.executable, __file__, "--read", str(path)]
                    done = subprocess.run(command, capture_output=True, text=True, check=True)
                    rates[path.name].append(json.loads(done.stdout))
        bytes_each = {path.name: size(path) / options.rows for path in sets}
    median = {one: statistics.median(found) for one, found in rates.items()}
    for one, found in rates.items():
        each = ", ".join(f"{rate:,.0f}" for rate in found)
        print(f"{one:>12}: {bytes_each[one]:,.0f} bytes a sample; median {median[one]:,.0f} rows/s of {each}")
    for storage in ("fp16", "fp8"):
        ours = f"ours {storage} 32"
        smaller = bytes_each["MDS fp16 77"] / bytes_each[ours]
        faster = [f"{median[ours] / median[f'MDS fp16 {tokens}']:.2f}" for tokens in (77, 32)]
        print(f"{ours}: {smaller:.2f} times smaller than MDS of 77 tokens, {faster[0]} times its rows/s")
        print(f"{'':>{len(ours)}}  {faster[1]} times the rows/s of MDS of 32 tokens")


if __name__ == "__main__":
    main()
