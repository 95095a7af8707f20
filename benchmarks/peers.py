"""Images a second of training, ours and the peers', on one machine, one set of JPEGs and one U-Net of SD2's shape.

Run after the demo: python benchmarks/peers.py [--script train_text_to_image.py] [--demo demo] [--width 0.5]
[--size 256] [--batch 4] [--steps 4] [--rounds 3] [--rows ours,script,mosaic,...].

`--script` is diffusers' examples/text_to_image/train_text_to_image.py as published, which needs accelerate, datasets
and torchvision; without it there are no rows of it. Measured was that of 0.40.0.dev0 (58eb52c). Everything runs on the
CPU, with random weights, each row of a round in a process of its own. The first step of each run warms up and is left
out (of ours the first two).

- ours: the JPEGs imported into a catalog, fetched and encoded ahead, then `commoncanvas train` on recipe s-c with this
  U-Net; seconds by its log, so loading, drawing and logging count. Encoding is timed too and shown spread over epochs.
  `ours-gpu` has what `auto` takes on a GPU: fused attention, and channels last.
- script: as it comes, no option set but what to train on and for how long: fp32, no average; by its own progress bar.
  `script-readme` is its README's command: mixed precision (bf16, as CPUs have no fp16), `--use_ema` and
  `--gradient_checkpointing`. `script-bf16-ema` leaves the checkpointing out; `script-bf16` the average too, which is
  as fast as it gets.
- mosaic: a step of mosaicml/diffusion by SD-2-base-256.yaml, written anew from its operations, as Composer wants a GPU:
  latents and text states in fp16 given ahead and in memory, scaled in the step; uniform timesteps; DDPM's noise;
  autocast to bf16, where the CPU has it (else fp32, as ours then); group and layer norms in low precision;
  diffusers' own attention, as xformers has no CPU kernel;
  F.mse_loss and its metric; torch.optim.AdamW by its defaults; a linear warm-up. Nothing is clipped, compiled or put
  channels last. Left out, which favours it: data loading, logging, its monitors and FSDP. Like ours, it has no average
  at 256 pixels (its 512-pixel file starts one at 800,000 steps); `mosaic-ema` has one, as Composer computes it.
  `mosaic-plain` has attention product by product, as ours has on CPUs.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from io import BytesIO
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
import yaml
from diffusers import DDPMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from PIL import Image
from recipe import USUAL, Bench
from transformers import CLIPTokenizer

from commoncanvas.catalog import Catalog
from commoncanvas.config import TrainConfig, load_recipe
from commoncanvas.models.devices import multiplies_bf16, precision_on
from commoncanvas.training.log import read_log
from commoncanvas.training.optimizations import apply_tricks

IMAGES = 64
OURS = {
    "ours": {},
    "ours-gpu": {"attention": "sdpa", "channels_last": True},
    "ours-clip": {"grad_clip": 1.0},
    "ours-ema": {"ema_decay": 0.9999},
}
SCRIPT = {
    "script": [],
    "script-readme": ["--mixed_precision=bf16", "--use_ema", "--gradient_checkpointing"],
    "script-bf16-ema": ["--mixed_precision=bf16", "--use_ema"],
    "script-bf16": ["--mixed_precision=bf16"],
}
MOSAIC: dict[str, dict[str, Any]] = {
    "mosaic": {},
    "mosaic-plain": {"attention": "plain"},
    "mosaic-ema": {"average": True},
}
STEP = re.compile(r"(\d+)/\d+ \[")


def save_parts(folder: Path, options: argparse.Namespace) -> None:
    """Random weights as a pipeline's folder."""
    bench = Bench(options.width, options.size, options.batch, torch.device("cpu"))
    unet = UNet2DConditionModel(**bench.config)
    unet.load_state_dict(bench.weights)
    StableDiffusionPipeline(
        vae=bench.vae,
        text_encoder=bench.text,
        tokenizer=tokenizer(),
        unet=unet,
        scheduler=DDPMScheduler(**bench.schedule),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(folder)


def tokenizer() -> CLIPTokenizer:
    """CLIP's, of single characters."""
    letters = [chr(code) for code in range(33, 127)]
    pieces = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{letter}</w>" for letter in letters)]
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    return CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=77)


def save_images(folder: Path, demo: Path, size: int) -> None:
    """JPEGs of pictures of the demo's catalog, `size` or more a side, as an imagefolder of datasets'."""
    folder.mkdir()
    catalog = Catalog.open(demo / "catalog.lance")
    rows = catalog.table(["image", "title"], "fetch_status = 'ok'", limit=IMAGES).to_pylist()
    lines = []
    for number, row in enumerate(rows):
        image = Image.open(BytesIO(row["image"])).convert("RGB")
        scale = size / min(image.size)
        sides = (max(size, round(image.width * scale)), max(size, round(image.height * scale)))
        image.resize(sides, Image.Resampling.BICUBIC).save(folder / f"{number:03}.jpg", quality=90)
        lines.append({"file_name": f"{number:03}.jpg", "text": row["title"] or f"picture {number}"})
    (folder / "metadata.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def run(*words: object) -> None:
    subprocess.run([sys.executable, "-m", "commoncanvas", *map(str, words)], check=True, stdout=sys.stderr)


def save_catalog(folder: Path, options: argparse.Namespace) -> float:
    """The JPEGs in a catalog, with latents and text states; the seconds an image that encoding took."""
    catalog = folder / "catalog.lance"
    words = ["--license", "CC0-1.0", "--label-column", "text", "--catalog", catalog]
    run("catalog", "import", "folder", folder / "images", *words)
    run("catalog", "fetch", "--catalog", catalog, "--size", options.size, "--side", "shortest")
    recipe = load_recipe("s-c").model_dump(mode="json")
    unet = UNet2DConditionModel.load_config(folder / "parts/unet")
    recipe["unet"] |= {name: unet[name] for name in ("block_out_channels", "attention_head_dim")}
    recipe |= {"size": options.size, "vae": str(folder / "parts"), "text_encoder": str(folder / "parts")}
    recipe["data"] |= {"catalog": str(catalog), "text": ["label"], "heldout_fraction": 0}
    recipe["encode"] |= {"precision": precision_on(torch.device("cpu"), "auto"), "batch_size": options.batch}
    recipe["train"] |= {"batch_size": options.batch, "steps": options.steps + 1}
    recipe["train"] |= {"warmup_steps": 0, "log_every": 1, "device": "cpu"}
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    began = time.perf_counter()
    run("encode", folder / "recipe.yaml")
    return (time.perf_counter() - began) / IMAGES


def ours(folder: Path, options: argparse.Namespace, changes: dict[str, float]) -> float:
    with tempfile.TemporaryDirectory(dir=folder) as name:
        overrides = [word for field, value in changes.items() for word in (f"--train.{field}", value)]
        run("train", folder / "recipe.yaml", "--out", f"{name}/model", *overrides)
        entries = read_log(Path(f"{name}/model-run/log.jsonl"))
    return (len(entries) - 2) * options.batch / (entries[-1]["seconds"] - entries[1]["seconds"])


def script(folder: Path, options: argparse.Namespace, words: list[str]) -> float:
    """By the moments at which the progress bar moves: it does so after each step."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        command = [sys.executable, str(options.script), *words, f"--output_dir={name}/model"]
        command += [f"--pretrained_model_name_or_path={folder}/parts", f"--train_data_dir={folder}/images"]
        command += ["--caption_column=text", f"--resolution={options.size}", "--center_crop", "--random_flip"]
        command += [f"--train_batch_size={options.batch}", f"--max_train_steps={options.steps}"]
        command += [
            "--lr_scheduler=constant",
            "--lr_warmup_steps=0",
            "--learning_rate=1e-4",
            f"--cache_dir={name}",
        ]
        environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "CUDA_VISIBLE_DEVICES": ""}
        moments: dict[int, float] = {}
        said = b""
        with subprocess.Popen(
            command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, env=environment
        ) as process:
            assert process.stderr
            while piece := os.read(process.stderr.fileno(), 65536):
                said += piece
                line = re.split(r"[\r\n]", said.decode(errors="replace"))[-1]
                if line.startswith("Steps:") and (found := STEP.search(line)):
                    moments.setdefault(int(found[1]), time.perf_counter())
        if process.returncode:
            sys.exit(said.decode(errors="replace")[-3000:])
    return (options.steps - 1) * options.batch / (moments[options.steps] - moments[1])


def mosaic(
    folder: Path, options: argparse.Namespace, average: bool = False, attention: str = "sdpa"
) -> float:
    torch.manual_seed(0)
    unet = UNet2DConditionModel.from_pretrained(folder / "parts/unet").train()
    config = TrainConfig(steps=1, batch_size=1, learning_rate=1e-4, **{**USUAL, "attention": attention})
    unet = apply_tricks(unet, config.model_copy(update={"low_precision_norms": True}), "mosaic")
    noise_schedule = DDPMScheduler.from_pretrained(folder / "parts/scheduler")
    optimizer = torch.optim.AdamW(unet.parameters(), lr=1e-4, weight_decay=0.01)
    warmup = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / 10_000))
    squares = torch.zeros(())
    averages = {name: weight.detach().clone() for name, weight in unet.named_parameters()} if average else {}
    side = options.size // 8
    latents_BCHW = torch.randn(options.batch, 4, side, side).half()
    states_BLD = torch.randn(options.batch, 77, 1024).half()
    half = multiplies_bf16(torch.device("cpu"))
    seconds = []
    for _ in range(options.steps):
        began = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            scaled_BCHW = (latents_BCHW - torch.zeros(1, 4, 1, 1)) / torch.full((1, 4, 1, 1), 1 / 0.18215)
            timesteps_B = torch.randint(0, len(noise_schedule), (options.batch,))
            noise_BCHW = torch.randn(scaled_BCHW.shape)
            noisy_BCHW = noise_schedule.add_noise(scaled_BCHW, noise_BCHW, timesteps_B)
            # Autocast takes states in fp16; without it the network has fp32 alone.
            told_BLD = states_BLD if half else states_BLD.float()
            said_BCHW = unet(noisy_BCHW, timesteps_B, told_BLD)["sample"]
            loss = F.mse_loss(said_BCHW, noise_BCHW)
        loss.backward()
        squares += (said_BCHW.detach() - noise_BCHW).square().sum()
        optimizer.step()
        optimizer.zero_grad()
        warmup.step()
        with torch.no_grad():
            for name, weight in unet.named_parameters():
                if name in averages:  # a weight at a time, through two temporary ones
                    averages[name].copy_(averages[name] * 0.9999 + weight * 0.0001)
        seconds.append(time.perf_counter() - began)
    return options.batch / statistics.mean(seconds[1:])


def measure(row: str, folder: Path, options: argparse.Namespace) -> float:
    """Images a second."""
    if row in OURS:
        return ours(folder, options, OURS[row])
    if row in SCRIPT:
        return script(folder, options, SCRIPT[row])
    rate: float = apart(mosaic, folder, options, **MOSAIC[row])
    return rate


def apart(work: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    """In a process of its own, whose memory is its own too."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(work, *arguments, **named).result()


def compare(folder: Path, options: argparse.Namespace) -> None:
    apart(save_parts, folder / "parts", options)
    save_images(folder / "images", options.demo, options.size)
    encoding = save_catalog(folder, options)
    rates: dict[str, list[float]] = {row: [] for row in options.rows}
    for number in range(options.rounds):
        for row, found in rates.items():
            began = time.perf_counter()
            found.append(measure(row, folder, options))
            taken = time.perf_counter() - began
            print(f"round {number + 1}: {row}: {found[-1]:.3f} images/s ({taken:.0f} s in all)", flush=True)
    print(f"\nencoding took {encoding:.2f} s an image, once; torch {torch.__version__}")
    first = next(iter(rates))
    own = statistics.median(rates[first])
    spread = {epochs: 1 / (1 / own + encoding / epochs) for epochs in (1, 10)}
    print(f"{'':16} images/s  first is  with encoding over 1 epoch  over 10")
    for row, found in rates.items():
        rate = statistics.median(found)
        ratios = [statistics.median(one / other for one, other in zip(rates[first], found, strict=True))]
        ratios += [each / rate for each in spread.values()]
        print(f"{row:16} {rate:8.3f} {ratios[0]:7.2f}x {ratios[1]:26.2f}x {ratios[2]:7.2f}x")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--script", type=Path)
    parser.add_argument("--demo", type=Path, default=Path("demo"))
    parser.add_argument("--width", type=float, default=0.5)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--rows",
        default="ours,ours-ema,script,script-readme,script-bf16-ema,mosaic,mosaic-plain,mosaic-ema",
        help=f"{[*OURS, *SCRIPT, *MOSAIC]}",
    )
    options = parser.parse_args()
    options.rows = options.rows.split(",")
    if unfit := set(options.rows) - {*OURS, *SCRIPT, *MOSAIC}:
        parser.error(f"there are no rows {', '.join(sorted(unfit))}")
    if not options.script:
        options.rows = [row for row in options.rows if row not in SCRIPT]
        print("without --script train_text_to_image.py the rows of diffusers' script are left out")
    if not multiplies_bf16(torch.device("cpu")):
        options.rows = [
            row for row in options.rows if not any("bf16" in word for word in SCRIPT.get(row, []))
        ]
        print("this CPU has no bf16: every row is in fp32")
    with tempfile.TemporaryDirectory() as name:
        compare(Path(name), options)


if __name__ == "__main__":
    main()
