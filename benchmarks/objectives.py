"""What each part of the objective brings at equal FLOPs: FD and retrieval of XS, a row a variant, several seeds.

Run after the demo: python benchmarks/objectives.py [--demo demo] [--seeds 3] [--steps 800] [--out objectives]
[--only VARIANT ...].
Every variant trains on a copy of the demo's catalog for the FLOPs of `--steps` steps of the plain recipe, counted by
torch's FlopCounterMode; what differs from the plain recipe is in VARIANTS. Finished runs in `--out` are not run again.
FD and retrieval are measured with EfficientNet-Lite0, whose features alignment draws the network towards: there they
may say more of that than of the images, which are to be looked at.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import statistics
from pathlib import Path
from typing import Any

from commoncanvas.catalog import Catalog
from commoncanvas.catalog.backfill import run_shown
from commoncanvas.config import Recipe, load_recipe
from commoncanvas.engine import engine_of
from commoncanvas.evaluation import evaluate
from commoncanvas.latents.stages import FeatureStage, latent_column
from commoncanvas.training.flops import sample_flops
from commoncanvas.training.task import first_batch, make_task
from commoncanvas.training.trainer import train

# Stable Diffusion's own objective and schedule.
PLAIN = {
    "noise.schedule.prediction_type": "epsilon",
    "noise.schedule.beta_schedule": "scaled_linear",
    "noise.schedule.beta_start": "0.00085",
    "noise.schedule.beta_end": "0.012",
    "noise.schedule.timestep_spacing": "leading",
    "noise.schedule.rescale_betas_zero_snr": "false",
    "noise.timesteps": "uniform",
    "sample.options": "{set_alpha_to_one: false}",
}
V = {**PLAIN, "noise.schedule.prediction_type": "v_prediction"}
ZERO = {
    **V,
    "noise.schedule.rescale_betas_zero_snr": "true",
    "noise.schedule.timestep_spacing": "trailing",
    "sample.options": "{}",
}
COSINE = {**ZERO, "noise.schedule.beta_schedule": "squaredcos_cap_v2"}
XS = {**COSINE, "noise.timesteps": "stratified"}
FLOW = {
    **PLAIN,
    "noise.schedule.prediction_type": "flow_prediction",
    "noise.timesteps": "stratified",
    "sample.scheduler": "DPMSolverMultistepScheduler",
    # The first order is the step that DDIM takes.
    "sample.options": "{solver_order: 1}",
}
# XS's weights as a transformer on patches of one cell, of recipes/xs-transformer.yaml.
TRANSFORMER = {**XS, "unet": "null", "transformer": str(load_recipe("xs-transformer").transformer)}
VARIANTS: dict[str, dict[str, str]] = {
    "plain: epsilon, uniform": PLAIN,
    "epsilon, min-SNR 5": {**PLAIN, "noise.min_snr_gamma": "5"},
    "v": V,
    "v, zero SNR": ZERO,
    "v, zero SNR, cosine": COSINE,
    "v, zero SNR, cosine, stratified (xs)": XS,
    "xs, min-SNR 5": {**XS, "noise.min_snr_gamma": "5"},
    "xs, logit-normal (0, 1)": {**XS, "noise.logit_normal": "[0, 1]"},
    # The column that the captioner reads, made for the other rows too.
    "xs, REPA": {
        **XS,
        "alignment.column": "efficientnet_lite0_3",
        "alignment.block": "mid_block",
        "alignment.width": "512",
    },
    "transformer, none masked": TRANSFORMER,
    "transformer, half the patches masked": {**TRANSFORMER, "masked_patches": "0.5", "patch_mixer": "2"},
    "flow": FLOW,
    "flow, logit-normal (0, 1)": {**FLOW, "noise.logit_normal": "[0, 1]"},
    "flow, cosmap": {**FLOW, "noise.sigma_weights": "cosmap"},
}
SHOWN = {
    "fd": "FD seen",
    "fd_heldout": "FD held out",
    "retrieval_seen": "retrieval seen",
    "retrieval_heldout": "retrieval held out",
}


def step_flops(recipe: Recipe) -> float:
    """FLOPs of one step's forward and backward pass."""
    task = make_task(recipe)
    return recipe.train.batch_size * sample_flops(task, task.model.train(), first_batch(task, 1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--demo", type=Path, default=Path("demo"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--out", type=Path, default=Path("objectives"))
    parser.add_argument("--only", nargs="*", default=list(VARIANTS))
    options = parser.parse_args()
    catalog = options.out / "catalog.lance"
    if not catalog.exists():
        shutil.copytree(options.demo / "catalog.lance", catalog)
    vae = str(options.demo / "xs-autoencoder")
    words = ["--data.catalog", str(catalog), "--vae", vae, "--train.sample_every", "null"]
    if any("alignment.column" in VARIANTS[name] for name in options.only):
        encoded = f"{latent_column(vae, load_recipe('xs').size)} IS NOT NULL"
        run_shown(Catalog.open(str(catalog)), FeatureStage(3), encoded, engine_of("local", None, "auto"))
    budget: float | None = None
    for name in options.only:
        chosen = words + [word for field, value in VARIANTS[name].items() for word in (f"--{field}", value)]
        flops = step_flops(load_recipe("xs", chosen))
        budget = budget or options.steps * step_flops(
            load_recipe("xs", words + [word for pair in PLAIN.items() for word in (f"--{pair[0]}", pair[1])])
        )
        steps = round(budget / flops)
        found = []
        for seed in range(options.seeds):
            out = options.out / f"{options.steps}-{re.sub(r'[^a-z0-9]+', '-', name.lower())}-{seed}"
            found.append(
                run(load_recipe("xs", [*chosen, "--seed", str(seed), "--train.steps", str(steps)]), out)
            )
        columns = [f"{title} {spread([one[key] for one in found])}" for key, title in SHOWN.items()]
        print(f"{name:36} {steps:5} steps  {'  '.join(columns)}", flush=True)


def run(recipe: Recipe, out: Path) -> dict[str, Any]:
    """Train and evaluate, or read what an earlier run found."""
    path = out.with_suffix(".json")
    if not path.exists():
        recipe = recipe.model_copy(update={"out": str(out)})
        judged = evaluate(str(train(recipe, resume=True)), prompts=64, out=f"{out}-evaluation").figures()
        path.write_text(json.dumps(judged), encoding="utf-8")
        shutil.rmtree(out.with_name(f"{out.name}-run"))
    return dict(json.loads(path.read_text(encoding="utf-8")))


def spread(values: list[float]) -> str:
    return f"{statistics.mean(values):.3g} ± {statistics.stdev(values) if len(values) > 1 else 0:.2g}"


if __name__ == "__main__":
    main()
