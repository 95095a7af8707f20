"""SIGKILL in the middle of `caption` and `encode`: nothing lost, nothing done twice but the fragment that was open."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from commoncanvas.catalog import Catalog
from tests.captioning import models as caption_models
from tests.encoding import models as latent_models
from tests.killable_models import FRAGMENT_ROWS

KILLS = 20
REPOSITORY = Path(__file__).parents[1]
DONE = {"caption": "caption_status", "encode": "text_model_8"}


def start(what: str, uri: Path, model: Path, log: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.killable_models", what, str(uri), str(model), str(log)]
    return subprocess.Popen(command, cwd=REPOSITORY, stderr=subprocess.PIPE, start_new_session=True)


def finish(process: subprocess.Popen[bytes]) -> None:
    _, stderr = process.communicate(timeout=250)
    assert process.returncode == 0, stderr.decode()


def lines(log: Path) -> list[str]:
    return log.read_text().splitlines() if log.exists() else []


@pytest.mark.heavy
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("what", ["caption", "encode"])
def test_killed_twenty_times_it_ends_as_one_never_killed_and_repeats_no_more_than_open_fragments(
    what: str, tmp_path: Path
) -> None:
    model, log = tmp_path / "model", tmp_path / "log"
    (caption_models.llava if what == "caption" else latent_models.sd2)(model)
    killed, whole = tmp_path / "killed.lance", tmp_path / "whole.lance"
    finish(start("rows", killed, model, log))
    shutil.copytree(killed, whole)
    before = tmp_path / "before.lance"
    shutil.copytree(killed, before)
    began = time.monotonic()
    finish(start(what, whole, model, log))
    seconds = time.monotonic() - began
    rows = len(lines(log))
    log.unlink()

    draw = random.Random(21)
    kills = committed = 0
    repeated = 0
    while kills < KILLS:
        process = start(what, killed, model, log)
        while process.poll() is None and not log.exists():
            time.sleep(0.01)
        time.sleep(draw.uniform(0, seconds / 10))
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            kills += 1
        process.communicate(timeout=100)
        catalog = Catalog.open(killed)
        catalog.dataset.validate()
        done = catalog.count(f"{DONE[what]} IS NOT NULL") if DONE[what] in catalog.schema.names else 0
        at = lines(log)
        # At most two fragments were open: one at the model, one being written.
        assert len(at) <= max(done - committed, 0) + 2 * FRAGMENT_ROWS
        assert max(Counter(at).values(), default=0) <= (
            1 if what == "caption" else 3
        )  # some titles are twins
        repeated += len(at) - (done - committed)
        committed = done
        log.unlink(missing_ok=True)
        if process.returncode == 0:  # all is done: kill it from the beginning once more
            assert same(killed, whole)
            shutil.rmtree(killed)
            shutil.copytree(before, killed)
            committed = 0
    finish(start(what, killed, model, log))
    assert same(killed, whole)
    print(f"{what}: {rows} rows, {kills} kills, {repeated} rows done again")
    assert Catalog.open(killed).count(f"{DONE[what]} IS NOT NULL") == rows > 5 * FRAGMENT_ROWS


def same(one: Path, other: Path) -> bool:
    columns = Catalog.open(other).schema.names
    first, second = (
        Catalog.open(uri).table(columns).sort_by("image_id").combine_chunks() for uri in (one, other)
    )
    return first.equals(second)
