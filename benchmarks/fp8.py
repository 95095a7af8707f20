"""What fp8 storage costs: the error of the stored values, and the quality of XS trained on them, beside seeds' noise.

Run after the demo: python benchmarks/fp8.py [--demo demo] [--seeds 1] [--steps 800]. On a copy of the demo's catalog
the XS U-Net is trained on fp16 columns and on fp8 ones, a run a seed, and evaluated on up to 64 held-out and 64 seen
prompts.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
from pathlib import Path
from typing import Any

from commoncanvas.catalog import Catalog
from commoncanvas.config import load_recipe
from commoncanvas.encoding.command import column_info, encode
from commoncanvas.encoding.states import from_fp8, states, to_fp8
from commoncanvas.evaluation import evaluate
from commoncanvas.training.trainer import train

SHOWN = ("retrieval", "fd", "kd")


def errors(catalog: Catalog, columns: list[str]) -> dict[str, float]:
    """Root mean square error of fp8 over that of the values, of fp16 columns."""
    found = {}
    for name in columns:
        table = catalog.table([name], f"{name} IS NOT NULL", limit=2000)
        values = states(table[name], column_info(catalog, name).shape).float().flatten(1)
        found[name] = float(
            (from_fp8(to_fp8(values)) - values).square().mean().sqrt() / values.square().mean().sqrt()
        )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--demo", type=Path, default=Path("demo"))
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--steps", type=int, default=800)
    options = parser.parse_args()
    figures: dict[str, list[dict[str, Any]]] = {"fp16": [], "fp8": []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        vae = ["--vae", str(options.demo / "xs-autoencoder")]
        for storage in figures:
            shutil.copytree(options.demo / "catalog.lance", folder / f"{storage}.lance")
            words = ["--data.catalog", str(folder / f"{storage}.lance"), *vae, "--encode.storage", storage]
            encode(load_recipe("xs", words), overwrite=True)
            if storage == "fp16":
                catalog = Catalog.open(folder / "fp16.lance")
                columns = [
                    one
                    for one in catalog.schema.names
                    if one in ("latent_xs_autoencoder_32", "text_minilm_16")
                ]
                for column, error in errors(catalog, columns).items():
                    print(f"{column}: rms error of fp8 {error:.2%} of the values' rms", flush=True)
            for seed in range(options.seeds):
                out = folder / f"{storage}-{seed}"
                run = ["--seed", str(seed), "--out", str(out), "--train.steps", str(options.steps)]
                run += ["--train.sample_every", "100000"]
                model = train(load_recipe("xs", [*words, *run]))
                judged = evaluate(str(model), samples=64, out=str(out / "evaluation")).figures()
                figures[storage].append(judged)
                print(
                    storage,
                    seed,
                    {key: value for key, value in judged.items() if "retrieval" in key},
                    flush=True,
                )
    for key in figures["fp16"][0]:
        if not any(word in key for word in SHOWN):
            continue
        line = []
        for storage, found in figures.items():
            values = [float(one[key]) for one in found if one.get(key) is not None]
            if values:
                spread = statistics.stdev(values) if len(values) > 1 else 0.0
                line.append(f"{storage} {statistics.mean(values):.4f} ± {spread:.4f}")
        print(f"{key:>32}: {'   '.join(line)}")


if __name__ == "__main__":
    main()
