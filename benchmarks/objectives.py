"""What each part of the objective brings at equal FLOPs: FD and retrieval of XS, a row a variant, several seeds.

Run after the demo: python benchmarks/objectives.py [--demo demo] [--seeds 1] [--steps 767] [--out objectives]
[--jobs CORES] [--all | --only VARIANT ...] [--filter SQL --vae FOLDER] [--prompts 64].
Every variant trains on a copy of the demo's catalog for the FLOPs of `--steps` steps of the plain recipe, XS as it is,
whose own steps are three times as many; counted by torch's FlopCounterMode. What differs from it is in VARIANTS. The
first rows have three times the FLOPs: is another as good as they, a third is enough. By default the rows run that this
question hangs on, with `--all` every one. The pictures are XS's, or with `--filter` others of the demo's catalog,
encoded by `--vae` before. Finished runs in `--out` are not run again, so other pictures or prompts want another one;
`--jobs` are under way at once, with a core each where there is no GPU. Every model is judged on `--prompts` prompts
seen and as many held out, at each of GUIDANCE; shown are the figures at the scale whose FD on prompts seen in training
is lowest, so that the held-out figures choose nothing.
FD and retrieval are measured with EfficientNet-Lite0, whose features alignment draws the network towards: there they
may say more of that than of the images, which are to be looked at.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import statistics
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from commoncanvas.config import Recipe, load_recipe
from commoncanvas.encoding.command import encode
from commoncanvas.evaluation import evaluate
from commoncanvas.training.flops import sample_flops
from commoncanvas.training.task import first_batch
from commoncanvas.training.tasks.make import make_task
from commoncanvas.training.trainer import train

# XS as it is: Stable Diffusion's own objective and schedule.
PLAIN: dict[str, str] = {}
V = {"noise.schedule.prediction_type": "v_prediction"}
ZERO = {
    **V,
    "noise.schedule.rescale_betas_zero_snr": "true",
    "noise.schedule.timestep_spacing": "trailing",
    "sample.options": "{}",
}
COSINE = {**ZERO, "noise.schedule.beta_schedule": "squaredcos_cap_v2", "noise.timesteps": "stratified"}
FLOW = {
    "noise.schedule.prediction_type": "flow_prediction",
    "noise.timesteps": "stratified",
    "sample.scheduler": "DPMSolverMultistepScheduler",
    # The first order is the step that DDIM takes.
    "sample.options": "{solver_order: 1}",
}
# XS's weights as a transformer on patches of one cell, of the recipe xs-transformer.
TRANSFORMER = {"unet": "null", "transformer": str(load_recipe("xs-transformer").transformer)}
# The column that the captioner reads, made for the other rows too.
REPA = {
    "alignment.column": "efficientnet_lite0_3",
    "alignment.block": "mid_block",
    "alignment.width": "512",
}
CURRICULUM = {**FLOW, "noise.logit_normal": "[1.5, 0.8]", "noise.logit_normal_end": "-0.5"}
TRAPEZOID = {
    **CURRICULUM,
    "train.schedule": "trapezoid",
    "train.warmup_steps": "30",
    "train.ema_decay": "0.98",
}
# Each chosen on seed 0. A projector of 512 channels takes 7 % of the FLOPs.
NARROW = {
    **TRAPEZOID,
    "noise.logit_normal": "[1.7, 0.6]",
    "train.cooldown": "0.7",
    "caption_dropout": "0.05",
    **REPA,
    "alignment.width": "128",
    "alignment.weight": "1",
}
# More and smaller steps, an average over as many images.
SMALL_BATCH = {
    **NARROW,
    "train.batch_size": "8",
    "train.learning_rate": "7e-4",
    "train.warmup_steps": "60",
    "train.ema_decay": "0.995",
}
VARIANTS: dict[str, dict[str, str]] = {
    "plain": PLAIN,
    "plain, stratified": {"noise.timesteps": "stratified"},
    "plain, min-SNR 5": {"noise.min_snr_gamma": "5"},
    "plain, REPA": REPA,
    "v": V,
    "v, zero SNR": ZERO,
    "v, zero SNR, cosine, stratified": COSINE,
    "the same, logit-normal (0, 1)": {**COSINE, "noise.logit_normal": "[0, 1]"},
    "flow": FLOW,
    "flow, logit-normal (0, 1)": {**FLOW, "noise.logit_normal": "[0, 1]"},
    "flow, cosmap": {**FLOW, "noise.sigma_weights": "cosmap"},
    "flow, curriculum": CURRICULUM,
    "flow, curriculum, trapezoid": TRAPEZOID,
    "flow, curriculum, trapezoid, REPA": {**TRAPEZOID, **REPA},
    "the same, narrower and with less dropout": NARROW,
    "the same, batches of 8": SMALL_BATCH,
    "transformer, none masked": TRANSFORMER,
    "transformer, half the patches masked": {**TRANSFORMER, "masked_patches": "0.5", "patch_mixer": "2"},
}
THRICE = ", three times the FLOPs"
TO_THEIR_END = [f"{name}{THRICE}" for name in ("plain", "flow, cosmap")]
KEY = [
    *TO_THEIR_END,
    "plain",
    "flow, cosmap",
    "the same, narrower and with less dropout",
    "the same, batches of 8",
]
GUIDANCE = (2.0, 3.0, 5.0)
SHOWN = {
    "fd": "FD seen",
    "fd_heldout": "FD held out",
    "kd": "KD seen",
    "kd_heldout": "KD held out",
    "retrieval_seen": "retrieval seen",
    "retrieval_heldout": "retrieval held out",
    "guidance_scale": "guidance",
}


def step_flops(recipe: Recipe) -> float:
    """FLOPs of one step's forward and backward pass."""
    task = make_task(recipe)
    return recipe.train.batch_size * sample_flops(task, task.model.train(), first_batch(task, 1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--demo", type=Path, default=Path("demo"))
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--steps", type=int, default=767)
    parser.add_argument("--out", type=Path, default=Path("objectives"))
    parser.add_argument("--jobs", type=int, default=1 if torch.cuda.is_available() else os.cpu_count() or 1)
    parser.add_argument("--filter")
    parser.add_argument("--vae")
    parser.add_argument("--prompts", type=int, default=64)
    rows = parser.add_mutually_exclusive_group()
    rows.add_argument("--all", action="store_const", const=[*TO_THEIR_END, *VARIANTS], dest="only")
    rows.add_argument("--only", nargs="+")
    parser.set_defaults(only=KEY)
    options = parser.parse_args()
    catalog = options.out / "catalog.lance"
    if not catalog.exists():
        shutil.copytree(options.demo / "catalog.lance", catalog)
    vae = options.vae or str(options.demo / "xs-autoencoder")
    words = ["--data.catalog", str(catalog), "--vae", vae, "--train.sample_every", "null"]
    if options.filter:
        words += ["--data.filter", options.filter]
    if any("alignment.column" in fields_of(name) for name in options.only):
        encode(load_recipe("xs", words + flags(REPA)))
    plain = step_flops(load_recipe("xs", words + flags(PLAIN)))
    steps = {}
    for name in options.only:
        budget = plain * options.steps * (3 if name.endswith(THRICE) else 1)
        steps[name] = round(budget / step_flops(load_recipe("xs", words + flags(fields_of(name)))))
    # A seed of all, then the next: stopped before its end there is a whole table, of fewer.
    chosen = [(seed, name) for seed in range(options.seeds) for name in options.only]
    recipes, outs = [], []
    for seed, name in chosen:
        own = ["--seed", str(seed), "--train.steps", str(steps[name])]
        recipes.append(load_recipe("xs", words + flags(fields_of(name)) + own))
        outs.append(options.out / f"{options.steps}-{re.sub(r'[^a-z0-9]+', '-', name.lower())}-{seed}")
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in options.only}
    threads = max(1, (os.cpu_count() or 1) // options.jobs)
    with ProcessPoolExecutor(
        options.jobs, get_context("spawn"), initializer=torch.set_num_threads, initargs=(threads,)
    ) as pool:
        judged = pool.map(partial(run, options.prompts), recipes, outs)
        for (seed, name), figures in zip(chosen, judged, strict=True):
            found[name].append(figures | {"steps": steps[name]})
            print(f"seed {seed}: {name}: {figures['fd_heldout']:.1f}", flush=True)
    for name, runs in found.items():
        columns = [f"{title} {spread([one[key] for one in runs])}" for key, title in SHOWN.items()]
        print(f"{name:36} {runs[0]['steps']:5} steps  {'  '.join(columns)}", flush=True)


def fields_of(name: str) -> dict[str, str]:
    return VARIANTS[name.removesuffix(THRICE)]


def flags(fields: dict[str, str]) -> list[str]:
    return [word for field, value in fields.items() for word in (f"--{field}", value)]


def run(prompts: int, recipe: Recipe, out: Path) -> dict[str, Any]:
    """Train and evaluate, or read what an earlier run found: the figures at the guidance of the lowest FD seen."""
    path = out.with_suffix(".json")
    if not path.exists():
        recipe = recipe.model_copy(update={"out": str(out)})
        model = str(train(recipe, resume=True))
        judged = [
            evaluate(model, samples=prompts, guidance_scale=scale, out=f"{out}-evaluation-{scale:g}")
            for scale in GUIDANCE
        ]
        figures = [one.figures() | {"guidance_scale": one.guidance_scale} for one in judged]
        path.write_text(json.dumps(figures), encoding="utf-8")
        shutil.rmtree(out.with_name(f"{out.name}-run"))
    found: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    return min(found, key=lambda figures: figures["fd"])


def spread(values: list[float]) -> str:
    return f"{statistics.mean(values):.3g} ± {statistics.stdev(values) if len(values) > 1 else 0:.2g}"


if __name__ == "__main__":
    main()
