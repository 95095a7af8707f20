"""`caption` and `encode` on a real Ray cluster: the columns of the local engine to the bit, whoever is killed."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from commoncanvas.captioning import CaptionerConfig, caption
from commoncanvas.catalog import Catalog
from commoncanvas.encoding.command import encode
from commoncanvas.engine import RayEngine
from commoncanvas.images.image import encode_image
from commoncanvas.table.schema import to_batch
from commoncanvas.training.trainer import train
from tests.captioning.models import xs
from tests.conftest import COLOURS, SHAPES, drawing
from tests.ray_cluster import wait_until, workers
from tests.training.tiny import recipe

pytest.importorskip("ray")
pytestmark = pytest.mark.timeout(240)

CAPTIONS = ["image_id", "caption", "caption_model", "caption_status"]


@pytest.fixture
def captioner(shapes: Catalog, tmp_path: Path) -> CaptionerConfig:
    tiny = recipe("xs-captioner", tmp_path, "--train.steps", "120", "--dropout", "0")
    encode(tiny)
    return xs(train(tiny))


def more_shapes(catalog: Catalog, fragments: int, copies: int) -> None:
    """Shapes without human text, and a file that is no image, in each of so many fragments."""
    pictures = [encode_image(drawing(colour, shape), "png") for colour in COLOURS for shape in SHAPES]
    for fragment in range(fragments):
        images = [*(picture for picture in pictures for _ in range(copies)), b"not an image"]
        shared = {"source": "more", "license": "CC0-1.0", "fetch_status": "ok"}
        rows = [
            {"image_id": f"more:{fragment}-{number}", "title": f"shape {number}", "image": image, **shared}
            for number, image in enumerate(images)
        ]
        catalog.add([to_batch(rows)])


def columns(uri: str | Path, names: list[str]) -> pa.Table:
    return Catalog.open(uri).table(names).sort_by("image_id")


@pytest.mark.slow
def test_captions_of_a_cluster_are_those_of_this_machine(
    cluster: Any, shapes: Catalog, captioner: CaptionerConfig, tmp_path: Path
) -> None:
    shutil.copytree(shapes.uri, tmp_path / "there.lance")
    here = caption(shapes.uri, captioner)
    there = caption(str(tmp_path / "there.lance"), captioner, engine=RayEngine(1))
    assert there == here
    assert here.captions == 12
    table = columns(shapes.uri, CAPTIONS)
    assert columns(tmp_path / "there.lance", CAPTIONS).equals(table)
    assert len({*table["caption"].to_pylist()} - {None}) > 1, "not one for all"


@pytest.mark.heavy
def test_captions_are_the_same_to_the_bit_when_a_worker_is_killed_in_the_middle(
    cluster: Any, shapes: Catalog, captioner: CaptionerConfig, tmp_path: Path
) -> None:
    more_shapes(shapes, fragments=12, copies=5)
    there = tmp_path / "there.lance"
    shutil.copytree(shapes.uri, there)
    words = ["caption", "--captioner", "xs", "--model", captioner.model, "--json", "--catalog"]
    command = [sys.executable, "-m", "commoncanvas", *words]
    driver = subprocess.Popen(
        [*command, str(there), "--engine", "ray"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    files = len(list(there.glob("data/*")))
    wait_until(
        lambda: len(list(there.glob("data/*"))) > files + 2 or driver.poll() is not None, "a slice", 90
    )
    assert driver.poll() is None, driver.stderr
    workers()[0].kill()
    left = Catalog.open(there).count("caption_status IS NULL")
    out, said = driver.communicate(timeout=150)
    assert driver.returncode == 0, said
    assert left > 100
    assert "workers were lost; other workers repeat" in said
    assert "Traceback" not in said
    local = subprocess.run([*command, shapes.uri], capture_output=True, text=True, timeout=150, check=False)
    assert json.loads(out) == json.loads(local.stdout)
    assert json.loads(out)["statuses"] == {"ok": 12 + 12 * 24 * 5, "not_an_image": 12}
    assert columns(there, CAPTIONS).equals(columns(shapes.uri, CAPTIONS))
    wait_until(lambda: not workers(), "the workers have ended")


@pytest.mark.heavy
def test_latents_and_text_states_are_the_same_to_the_bit_when_a_worker_is_killed_in_the_middle(
    cluster: Any, shapes: Catalog, vae: str, tmp_path: Path
) -> None:
    more_shapes(shapes, fragments=10, copies=10)
    there = tmp_path / "there.lance"
    shutil.copytree(shapes.uri, there)
    good = "source = 'shapes' OR NOT ends_with(image_id, '-240')"
    chosen = ("--data.filter", good, "--data.text", "[label, title]")
    files = len(list(there.glob("data/*")))
    killed: list[int] = []

    def kill() -> None:
        wait_until(lambda: len(list(there.glob("data/*"))) > files + 2, "a slice", 90)
        victim = workers()[0]
        victim.kill()
        killed.append(victim.pid)

    killer = threading.Thread(target=kill)
    killer.start()
    remote = encode(recipe("xs", tmp_path, *chosen, "--data.catalog", str(there)), engine="ray")
    killer.join()
    local = encode(recipe("xs", tmp_path, *chosen))
    assert len(killed) == 1
    assert {each.rows for each in local.columns} == {24 + 2400}
    assert {each.rows for each in remote.columns} == {24 + 2400}
    names = ["image_id", *(each.column for each in local)]
    assert columns(there, names).equals(columns(shapes.uri, names))
