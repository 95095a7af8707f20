"""Does `commoncanvas memorisation` catch a model that knows its images by heart? What does it say of an ordinary one?

python benchmarks/memorisation.py [DEMO]      DEMO: the folder of a finished `commoncanvas demo`; it is copied

Trains the demo's recipe on 20 drawings, until it can draw each of them again. Prints for this model and for the demo's
own: how many prompts' images count as copies, and how many drawings that the model never saw are taken for copies.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from pathlib import Path

from commoncanvas.catalog import Catalog
from commoncanvas.config import load_recipe
from commoncanvas.demonstration.folders import MODELS
from commoncanvas.encoding.command import encode
from commoncanvas.memorisation.command import measure_memorisation
from commoncanvas.memorisation.page import write_memorisation_page
from commoncanvas.memorisation.result import Memorisation
from commoncanvas.table.sql import listed
from commoncanvas.training.trainer import train

IMAGES, STEPS = 20, 600


def overfitted(folder: Path) -> Path:
    """Train on IMAGES drawings whose labels differ; returns the model's folder."""
    catalog = folder / "catalog.lance"
    chosen = load_recipe("xs-curriculum").data.catalogs["main"].filter
    rows = Catalog.open(catalog).table(["image_id", "label"], f"label IS NOT NULL AND {chosen}").to_pylist()
    by_label = {row["label"]: row["image_id"] for row in sorted(rows, key=lambda row: row["image_id"])}
    ids = [*by_label.values()][:: max(1, len(by_label) // IMAGES)][:IMAGES]
    recipe = load_recipe(
        "xs-curriculum",
        [
            *("--data.catalog", str(catalog), "--data.filter", f"image_id IN ({listed(ids)})"),
            *("--data.heldout_fraction", "0", "--out", str(folder / "overfitted")),
            *("--vae", str(folder / MODELS["autoencoder"])),
            *("--train.steps", str(STEPS), "--train.batch_size", str(IMAGES), "--train.sample_every", "null"),
        ],
    )
    encode(recipe)
    return train(recipe)


def show(name: str, found: Memorisation, seconds: float) -> None:
    copies = ", ".join(
        f"{change} {share.found}/{share.of}" for change, share in found.calibration.copies.items()
    )
    print(f"{name}: {found.random} of random prompts are drawn again; at risk {found.at_risk}")
    print(f"{name}: {found.given_back} of {found.trained_on} training images")
    print(f"{name}: strangers taken for copies {found.calibration.false_alarms}")
    print(f"{name}: known copies found: {copies}; {seconds:.0f} s")


def main(demo: str = "demo") -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for name in ("catalog.lance", MODELS["diffusion"], MODELS["autoencoder"]):
            shutil.copytree(Path(demo) / name, folder / name)
        catalog = str(folder / "catalog.lance")
        began = time.monotonic()
        model = overfitted(folder)
        print(f"training on {IMAGES} drawings: {time.monotonic() - began:.0f} s")
        for name, which in (("overfitted", model), ("demo", folder / MODELS["diffusion"])):
            began = time.monotonic()
            found = measure_memorisation(which, catalog=catalog)
            show(name, found, time.monotonic() - began)
            page = f"memorisation-{name}.html"
            write_memorisation_page(found, page)
            print(f"{name}: {page}")


if __name__ == "__main__":
    main(*sys.argv[1:])
