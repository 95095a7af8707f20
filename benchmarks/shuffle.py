"""Shuffling blocks in a buffer: how random it is, and what it saves where each request has to wait.

Run: python benchmarks/shuffle.py [--rows 16384] [--batch 256] [--block 64] [--buffer 8192] [--latency-ms 20]
[--width 64]

Randomness, of epochs of 262,144 rows, against a full shuffle and no shuffle: how many blocks a batch's rows are from;
how often two neighbours in storage share a batch, where 1 is chance; and by how much the variance of a batch's mean
grows for what all rows of a block have in common and no other has: the worst that an order of storage can do.

Speed: the loader's own batches of latents and text states (fp16, 4 x 32 x 32 and 32 x --width) from an S3 server on
loopback that waits before each answer, single rows against blocks, once alone and once as the first of eight
processes; requests and bytes as the server counts them.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import re
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from commoncanvas.catalog import Catalog
from commoncanvas.config import ShuffleConfig
from commoncanvas.selection.rows import Selection, TrainingRows
from commoncanvas.table.schema import to_batch
from commoncanvas.training.distributed.ranks import Ranks
from commoncanvas.training.loader import Loader
from commoncanvas.training.order import Order

EPOCH, EPOCHS = 2**18, 5
LATENT, TOKENS = 4 * 32 * 32, 32


def randomness(order_BN: NDArray[np.int64], block: int) -> tuple[float, float, float]:
    """Of an epoch's batches [number, B]: blocks in a batch, pairs of neighbours in one over chance, variance of the
    mean over that of B independent rows.
    """
    number, size = order_BN.shape
    blocks = np.mean([len(set(batch // block)) for batch in order_BN])
    batch_of = np.empty(order_BN.size, np.int64)
    batch_of[order_BN] = np.arange(number)[:, None]
    together = np.mean(batch_of[1:] == batch_of[:-1]) / ((size - 1) / (order_BN.size - 1))
    value = np.random.default_rng(0).standard_normal(order_BN.size // block + 1)[order_BN // block]
    return float(blocks), float(together), float(value.mean(1).var() * size / value.var())


def show_randomness(batch: int, block: int) -> None:
    """The mean of several epochs of each order."""
    orders = {"full shuffle": Order(0, EPOCH)}
    for buffer in (16 * block, 64 * block, 256 * block, 1024 * block):
        orders[f"buffer of {buffer:,}"] = Order(0, EPOCH, ShuffleConfig(block=block, buffer=buffer))
    steps = EPOCH // batch
    found = {"no shuffle": randomness(np.arange(EPOCH).reshape(steps, batch), block)}
    for name, order in orders.items():
        batches = [order.batch(step, batch).positions for step in range(EPOCHS * steps)]
        each = [randomness(np.stack(batches[at : at + steps]), block) for at in range(0, len(batches), steps)]
        found[name] = tuple(np.mean(each, axis=0))
    print(f"{EPOCH:,} rows, batches of {batch}, blocks of {block}")
    print(f"{'':>24} | blocks in a batch | neighbours in one | variance of the mean")
    for name, (blocks, together, variance) in found.items():
        print(f"{name:>24} | {blocks:17.1f} | {together:17.2f} | {variance:.2f}")


class Store(BaseHTTPRequestHandler):
    """As much of S3 as reading a table takes: HEAD, ranges, and lists of a folder."""

    protocol_version = "HTTP/1.1"
    wbufsize, disable_nagle_algorithm = -1, True  # an answer in one packet, at once
    folder: Path
    latency_s: float
    counts: Any
    """Requests and bytes, shared with the process that reads."""

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, body: bool) -> None:
        time.sleep(self.latency_s)
        where = urlsplit(self.path)
        found = parse_qs(where.query)
        path = self.folder / unquote(where.path).lstrip("/")
        if "list-type" in found:
            self._send(200, self._list(path, found.get("prefix", [""])[0]), {}, body=True)
        elif not path.is_file():
            self._send(404, b"<Error><Code>NoSuchKey</Code></Error>", {}, body)
        else:
            self._send_file(path, body)

    def _send_file(self, path: Path, body: bool) -> None:
        size = path.stat().st_size
        start, stop, headers = 0, size, {"Last-Modified": formatdate(0, usegmt=True), "ETag": '"0"'}
        if match := re.match(r"bytes=(\d*)-(\d*)", self.headers.get("Range", "")):
            first, last = match.groups()
            start = int(first) if first else size - int(last)
            stop = min(size, int(last) + 1) if first and last else size
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
        if not body:
            headers["Content-Length"] = str(size)
        with path.open("rb") as file:
            file.seek(start)
            self._send(206 if match else 200, file.read(stop - start) if body else b"", headers, body)

    def _send(self, status: int, data: bytes, headers: dict[str, str], body: bool) -> None:
        with self.counts.get_lock():
            self.counts[0] += 1
            self.counts[1] += len(data)
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(data))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(data)

    def _list(self, bucket: Path, prefix: str) -> bytes:
        keys = sorted(str(one.relative_to(bucket)) for one in bucket.rglob("*") if one.is_file())
        entries = "".join(
            f"<Contents><Key>{escape(key)}</Key><LastModified>1970-01-01T00:00:00.000Z</LastModified><ETag>0</ETag>"
            f"<Size>{(bucket / key).stat().st_size}</Size><StorageClass>STANDARD</StorageClass></Contents>"
            for key in keys
            if key.startswith(prefix)
        )
        return f"<ListBucketResult><IsTruncated>false</IsTruncated>{entries}</ListBucketResult>".encode()

    def log_message(self, *_: Any) -> None:
        pass


class Server(ThreadingHTTPServer):
    request_queue_size = 1024  # connections that come in one burst


def serve(folder: Path, latency_s: float, counts: Any, port: Any) -> None:
    Store.folder, Store.latency_s, Store.counts = folder, latency_s, counts
    server = Server(("127.0.0.1", 0), Store)
    port.put(server.server_port)
    server.serve_forever()


@contextmanager
def served(folder: Path, latency_s: float) -> Iterator[Any]:
    """The store in a process of its own; its counts."""
    context = multiprocessing.get_context("spawn")
    counts, port = context.Array("q", 2), context.Queue()
    process = context.Process(target=serve, args=(folder, latency_s, counts, port), daemon=True)
    process.start()
    os.environ |= {f"AWS_{name}": "test" for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY")}
    os.environ |= {"AWS_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true", "AWS_ALLOW_HTTP": "true"}
    os.environ["AWS_ENDPOINT"] = f"http://127.0.0.1:{port.get(timeout=60)}"
    try:
        yield counts
    finally:
        process.terminate()
        process.join()


def write(uri: Path, rows: int, values: dict[str, int]) -> None:
    """A catalog with made up columns of states."""

    class Random:
        name, reads, batch_size, done_column, todo = "random", ("source",), 1024, "latent", "latent IS NULL"
        writes = tuple(pa.field(name, pa.list_(pa.float16(), size)) for name, size in values.items())

        def setup(self) -> None:
            self.draw = np.random.default_rng(0)

        def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
            columns = [
                pa.FixedSizeListArray.from_arrays(
                    pa.array(self.draw.standard_normal(len(batch) * size).astype(np.float16)), size
                )
                for size in values.values()
            ]
            return pa.RecordBatch.from_arrays(columns, names=list(values))

    catalog = Catalog.create(uri)
    catalog.add(
        to_batch([{"image_id": f"a:{number:08}", "source": "a"} for number in range(start, start + 4096)])
        for start in range(0, rows, 4096)
    )
    catalog.backfill(Random())


def read(
    catalog: Catalog,
    ids: NDArray[np.uint64],
    size: int,
    shuffle: ShuffleConfig | None,
    world: int,
    counts: Any,
) -> None:
    """Read an epoch as training does, the first of `world` processes' part of it, and print what it took."""
    columns = ("latent", "text")
    table = pa.table({"row_id": ids, "split": ["train"] * len(ids)})
    rows = TrainingRows((Selection("", catalog, "true"),), table)
    task = SimpleNamespace(rows=rows, columns=columns, batch=lambda table, draws: {"rows": len(table)})
    recipe = SimpleNamespace(
        seed=0, train=SimpleNamespace(batch_size=size), data=SimpleNamespace(shuffle=shuffle, shares=None)
    )
    loader = Loader(task, recipe, Ranks(0, world, torch.device("cpu")))  # type: ignore[arg-type]
    counts[:] = 0, 0
    began = time.perf_counter()
    count = sum(batch["rows"] for _, batch in loader.batches(0, len(ids) // size))
    seconds = time.perf_counter() - began
    name = f"blocks of {shuffle.block} in {shuffle.buffer:,}" if shuffle else "single rows"
    print(
        f"{name:>24}, 1 of {world}: {count / seconds:,.0f} rows/s; {counts[0] / count:.3f} requests and "
        f"{counts[1] / count:,.0f} bytes a row"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=16384)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--block", type=int, default=64)
    parser.add_argument("--buffer", type=int, default=8192)
    parser.add_argument("--latency-ms", type=float, default=20)
    parser.add_argument("--width", type=int, default=64)
    options = parser.parse_args()
    values = {"latent": LATENT, "text": TOKENS * options.width}
    show_randomness(options.batch, options.block)
    print(f"rows of {sum(values.values()) * 2:,} bytes, {options.latency_ms:g} ms a request")
    shuffle = ShuffleConfig(block=options.block, buffer=options.buffer)
    with tempfile.TemporaryDirectory() as name:
        write(Path(name) / "commons" / "cc.lance", options.rows, values)
        with served(Path(name), options.latency_ms / 1000) as counts:
            catalog = Catalog.open("s3://commons/cc.lance")
            ids = catalog.table(["image_id"], with_row_id=True)["_rowid"].to_numpy()
            for world in (1, 8):
                for one in (None, shuffle):
                    read(catalog, ids, options.batch, one, world, counts)


if __name__ == "__main__":
    main()
