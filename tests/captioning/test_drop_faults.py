"""`caption drop` killed at any moment and run again ends as one never killed."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pytest

from commoncanvas.catalog import Catalog
from commoncanvas.table.columns import ColumnInfo
from tests.killable_models import DROPPED_BY

KILLS = 3
REPOSITORY = Path(__file__).parents[2]
INFO = ColumnInfo("2" * 64, (("image", None),), (), "writer")


class Titles:
    """Titles for captions, each with a status, and a column that is made of them."""

    name, reads, batch_size, done_column = "titles", ("title",), 1000, "caption_status"
    todo = "caption_status IS NULL"
    writes = (
        INFO.field("caption", pa.string()),
        INFO.field("caption_status", pa.string()),
        ColumnInfo("3" * 64, (("caption", "2" * 64),), (), "measure").field("caption_length", pa.int64()),
    )

    def setup(self) -> None:
        """Nothing to load."""

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        said = batch["title"].to_pylist()
        columns = [
            pa.array(said, pa.string()),
            pa.array(["ok"] * len(said)),
            pa.array([len(one or "") for one in said]),
        ]
        return pa.RecordBatch.from_arrays(columns, names=[field.name for field in self.writes])


def start(what: str, uri: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.killable_models", what, str(uri), "", ""]
    return subprocess.Popen(command, cwd=REPOSITORY, stderr=subprocess.PIPE, start_new_session=True)


def finish(process: subprocess.Popen[bytes]) -> None:
    _, stderr = process.communicate(timeout=250)
    assert process.returncode == 0, stderr.decode()


def content(uri: Path) -> pa.Table:
    columns = ["image_id", "caption", "caption_status", "caption_length"]
    return Catalog.open(uri).table(columns).sort_by("image_id").combine_chunks()


@pytest.mark.heavy
def test_a_drop_killed_again_and_again_ends_as_one_never_killed(tmp_path: Path) -> None:
    killed, whole = tmp_path / "killed.lance", tmp_path / "whole.lance"
    finish(start("imported", killed))
    Catalog.open(killed).backfill(Titles())
    shutil.copytree(killed, whole)
    versions = killed / "_versions"
    draw = random.Random(3)
    kills = inside = 0
    left = Catalog.open(killed).count("caption IS NOT NULL")
    for _ in range(KILLS):
        before = len(list(versions.iterdir()))
        process = start("drop", killed)
        while process.poll() is None and len(list(versions.iterdir())) == before:
            time.sleep(0.01)  # so that kills don't all hit the imports of Python
        time.sleep(draw.uniform(0, 0.3))
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            kills += 1
        process.communicate(timeout=100)
        catalog = Catalog.open(killed)
        catalog.dataset.validate()
        # Caption, status and what was made of the caption go together, whenever it is killed.
        gone = "caption IS NULL AND caption_status LIKE 'dropped%' AND caption_length IS NULL"
        assert catalog.count(gone) + catalog.count("caption IS NOT NULL AND caption_status = 'ok'") == len(
            catalog.table(["image_id"], "title IS NOT NULL")
        )
        inside += catalog.count("caption IS NOT NULL") < left
        left = catalog.count("caption IS NOT NULL")
    assert kills >= 2 and inside >= 2
    finish(start("drop", killed))
    finish(start("drop", whole))
    assert content(killed).equals(content(whole))
    assert {f"dropped_{rule}" for rule in DROPPED_BY} <= set(content(whole)["caption_status"].to_pylist())
