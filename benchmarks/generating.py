"""Images a second of `generate` against a stock diffusers pipeline that is called prompt by prompt.

Run: python benchmarks/generating.py [--model xs] [--prompts 64] [--rounds 3] [--half-prompts 4] [--half-steps 25]
[--compiled].
Both sides draw the same prompts with the same seeds, steps and guidance, from a loaded pipeline; diffusers in fp32,
ours in fp32 and in bf16. First the given model; then SD2's shape at half its width with random weights, at 256 pixels,
for fewer prompts, since one image of it takes seconds on a CPU. PSNR compares the two sides' images, seed by seed;
infinite means equal. With --compiled, our U-Net is compiled by torch.compile with frozen weights; the first call, which
compiles, is timed apart. Also: seconds from the start of the process to the file, for one prompt, and to its end.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL, DiffusionPipeline, StableDiffusionPipeline, UNet2DConditionModel
from diffusers.schedulers import DDIMScheduler
from PIL import Image
from torch._inductor import config as inductor
from transformers import BertTokenizer, CLIPTextConfig, CLIPTextModel

from commoncanvas.diffusion.batches import Painter
from commoncanvas.diffusion.sampling import denoiser_of, load_pipeline
from commoncanvas.models.devices import keep_freed_memory
from commoncanvas.models.pretrained import model_folder

WORDS = ("red", "blue", "green", "old", "small", "heart", "cat", "tree", "house", "boat", "star", "apple")
GUIDANCE, STEPS = 3.0, 25
PRECISIONS = ("fp32", "bf16")


def half_sd2(folder: Path) -> str:
    """SD2's classes with half the channels, random weights."""
    torch.manual_seed(0)
    (folder / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", *WORDS]))
    vae = AutoencoderKL(
        block_out_channels=(64, 128, 256, 256),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=2,
        latent_channels=4,
        sample_size=256,
    )
    unet = UNet2DConditionModel(
        sample_size=32,
        block_out_channels=(160, 320, 640, 640),
        attention_head_dim=(5, 10, 20, 20),
        cross_attention_dim=512,
        use_linear_projection=True,
    )
    text = CLIPTextConfig(
        vocab_size=len(WORDS) + 5,
        hidden_size=512,
        intermediate_size=2048,
        num_hidden_layers=23,
        num_attention_heads=8,
        pad_token_id=0,
        bos_token_id=2,
        eos_token_id=3,
    )
    StableDiffusionPipeline(
        vae=vae.eval(),
        text_encoder=CLIPTextModel(text).eval(),
        tokenizer=BertTokenizer(str(folder / "vocab.txt"), model_max_length=77),
        unet=unet.eval(),
        scheduler=DDIMScheduler(beta_schedule="scaled_linear", clip_sample=False, set_alpha_to_one=False),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(folder / "model")
    return str(folder / "model")


def ours(painter: Painter, prompts: list[str], steps: int, precision: str) -> Callable[[], list[Image.Image]]:
    settings = {"guidance_scale": GUIDANCE, "steps": steps, "precision": precision}
    return lambda: list(painter.images(prompts, seeds=range(len(prompts)), **settings))


def stock(model: str, prompts: list[str], steps: int) -> Callable[[], list[Image.Image]]:
    pipeline: Any = DiffusionPipeline.from_pretrained(model, use_safetensors=True)
    pipeline.set_progress_bar_config(disable=True)

    def draw(prompt: str, seed: int) -> Image.Image:
        generator = torch.Generator("cpu").manual_seed(seed)
        made = pipeline(prompt, guidance_scale=GUIDANCE, num_inference_steps=steps, generator=generator)
        image: Image.Image = made.images[0]
        return image

    return lambda: [draw(prompt, seed) for seed, prompt in enumerate(prompts)]


def psnr(one: Image.Image, other: Image.Image) -> float:
    """dB, of 8-bit images."""
    error = float(((np.asarray(one, np.float64) - np.asarray(other, np.float64)) ** 2).mean())
    return float("inf") if error == 0 else 10 * np.log10(255**2 / error)


def compare(name: str, model: str, prompts: list[str], steps: int, rounds: int, compiled: bool) -> None:
    painter = Painter(load_pipeline(model))
    if compiled:
        inductor.freezing = True
        denoiser_of(painter.pipeline).requires_grad_(False).compile()
    sides = {each: ours(painter, prompts, steps, each) for each in PRECISIONS}
    sides["diffusers"] = stock(model, prompts, steps)
    seconds: dict[str, list[float]] = {side: [] for side in sides}
    drawn = {}
    for side, draw in sides.items():
        began = time.perf_counter()
        drawn[side] = draw()  # also the first call, which is slower
        print(f"{name}, {side}: the first call took {time.perf_counter() - began:.1f} s")
    for _ in range(rounds):
        for side, draw in sides.items():
            began = time.perf_counter()
            draw()
            seconds[side].append(time.perf_counter() - began)
    rates = {side: len(prompts) / median(each) for side, each in seconds.items()}
    print(f"{name}: diffusers {rates['diffusers']:.3f} images/s")
    for precision in PRECISIONS:
        likeness = [psnr(*pair) for pair in zip(drawn[precision], drawn["diffusers"], strict=True)]
        print(
            f"  commoncanvas, {precision}: {rates[precision]:.3f} images/s, "
            f"{rates[precision] / rates['diffusers']:.2f} times; PSNR at least {min(likeness):.1f} dB, median "
            f"{median(likeness):.1f}, {sum(map(np.isinf, likeness))} of {len(prompts)} equal"
        )


def start_to_file(model: str, rounds: int) -> None:
    to_file, to_end = [], []
    for number in range(rounds + 1):
        with tempfile.TemporaryDirectory() as folder:
            began = time.time()
            words = ["generate", model, "a red heart", "--seed", str(number), "--out", folder]
            subprocess.run([sys.executable, "-m", "commoncanvas", *words], check=True, capture_output=True)
            to_end.append(time.time() - began)
            to_file.append(next(Path(folder).iterdir()).stat().st_mtime - began)
    print(
        f"one prompt, from the start of the process: {median(to_file[1:]):.2f} s to the file, "
        f"{median(to_end[1:]):.2f} s to its end"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="xs")
    parser.add_argument("--prompts", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--half-prompts", type=int, default=4)
    parser.add_argument("--half-steps", type=int, default=STEPS)
    parser.add_argument("--compiled", action="store_true")
    options = parser.parse_args()
    keep_freed_memory()  # for both sides; `generate` asks for it too
    pairs = [f"a {first} {second}" for first in WORDS for second in WORDS if first != second]
    start_to_file(options.model, options.rounds)
    given, some = str(model_folder(options.model)), pairs[: options.prompts]
    compare("the given model", given, some, STEPS, options.rounds, options.compiled)
    with tempfile.TemporaryDirectory() as folder:
        model = half_sd2(Path(folder))
        some = pairs[: options.half_prompts]
        compare("SD2 at half width", model, some, options.half_steps, options.rounds, options.compiled)


if __name__ == "__main__":
    main()
