"""What the tests let run on a Ray cluster: stages that say what they do in files, and that can be lost."""

from __future__ import annotations

import os
import signal
import time
import uuid
from pathlib import Path

import pyarrow as pa

from commoncanvas.table import backfill


class Slow:
    """`title` -> its length. Leaves a file in `log` for every set-up, and one for every row that it is called with."""

    name = "slow"
    reads = ("image_id", "title")
    writes = (pa.field("length", pa.int64()),)
    done_column = "length"
    todo = "length IS NULL"
    batch_size = 10

    def __init__(self, log: Path, pause_s: float = 0.0, slice_s: float = 60.0) -> None:
        self.log = log
        self.pause_s = pause_s
        self.slice_s = slice_s

    def setup(self) -> None:
        backfill.SLICE_SECONDS = self.slice_s
        (self.log / f"setup-{os.getpid()}-{uuid.uuid4().hex}").touch()

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        time.sleep(self.pause_s)
        for image_id in batch["image_id"].to_pylist():
            (self.log / f"row-{image_id}-{uuid.uuid4().hex}").touch()
        lengths = [len(title) for title in batch["title"].to_pylist()]
        return pa.RecordBatch.from_arrays([pa.array(lengths, pa.int64())], names=["length"])


class Killed(Slow):
    """Its process is killed in the middle of the fragment with row `victim`: `times`, then no more."""

    def __init__(self, log: Path, victim: str, times: int) -> None:
        super().__init__(log)
        self.victim = victim
        self.times = times

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        if self.victim in batch["image_id"].to_pylist() and len(list(self.log.glob("kill-*"))) < self.times:
            (self.log / f"kill-{uuid.uuid4().hex}").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__call__(batch)


class TwoPartError(Exception):
    """One that pickle can't make anew."""

    def __init__(self, what: str, where: str) -> None:
        super().__init__(f"{what} in {where}")


class Broken(Slow):
    def __init__(self, log: Path, error: str) -> None:
        super().__init__(log, pause_s=0.05)
        self.error = error

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        if "n:50" in batch["image_id"].to_pylist():
            raise KeyError("fifty") if self.error == "KeyError" else TwoPartError("a hole", "row 50")
        return super().__call__(batch)
