"""The waterfall: what each trick of the recipe is worth, one on top of the other, from the usual way to ours.

python benchmarks/recipe.py [--width 0.5] [--size 256] [--batch 4] [--steps 3] [--rounds 3] [--device cpu]. SD2's shapes
with random weights, the U-Net at `--width` of its channels. A row is the one before it with one thing changed; each
round runs all rows in turn, each from the same weights on the same images and noise. Shown: the median of all steps but
a run's first, which warms up (and compiles); the ratio to the row before; and how far at most a step's loss is from the
one of the row before. Sharding wants several devices and is no row; on a device without bf16 that isn't one either, nor
are norms in it.
"""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import dataclass, field
from typing import Any

import torch
from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
from torch.nn.utils import clip_grad_norm_
from transformers import CLIPTextConfig, CLIPTextModel

from commoncanvas.config import DiffusionRecipe, TrainConfig, load_recipe
from commoncanvas.diffusion.networks.unet import UNet
from commoncanvas.diffusion.objective import Objective
from commoncanvas.models.devices import multiplies_bf16, pick_device
from commoncanvas.training.ema import EMA
from commoncanvas.training.optimizations import apply_tricks

USUAL = {"precision": "fp32", "attention": "plain", "channels_last": False, "fused_adamw": False}
TRICKS: list[tuple[str, dict[str, Any]]] = [
    ("the usual way: all in the loop, fp32", {}),
    ("latents and text states ahead", {"ahead": True}),
    ("bf16 autocast", {"precision": "bf16"}),
    ("low-precision norms", {"low_precision_norms": True}),
    ("fused attention (SDPA)", {"attention": "sdpa"}),
    ("channels last", {"channels_last": True}),
    ("fused AdamW", {"fused_adamw": True}),
    ("EMA at the end only", {"average": False}),
    ("torch.compile", {"compile": True}),
]


@dataclass
class Setting:
    ahead: bool = False
    average: bool = True
    train: dict[str, Any] = field(default_factory=lambda: dict(USUAL))

    def changed(self, changes: dict[str, Any]) -> Setting:
        own = {name: changes[name] for name in ("ahead", "average") if name in changes}
        rest = {name: value for name, value in changes.items() if name not in own}
        return Setting(**{"ahead": self.ahead, "average": self.average, **own}, train=self.train | rest)


class Bench:
    """The parts, and one batch of everything that a step may need."""

    def __init__(self, width: float, size: int, batch: int, device: torch.device) -> None:
        torch.manual_seed(0)
        recipe = load_recipe("s-c")
        assert isinstance(recipe, DiffusionRecipe)
        self.device = device
        channels = [int(each * width) for each in recipe.unet["block_out_channels"]]
        heads = [max(1, each // 64) for each in channels]
        fields = UNet(recipe.unet, 1024, 0).config((4, size // 8, size // 8))
        self.config = fields | {"block_out_channels": channels, "attention_head_dim": heads}
        self.weights = UNet2DConditionModel(**self.config).state_dict()
        kinds = {"down_block_types": ["DownEncoderBlock2D"] * 4, "up_block_types": ["UpDecoderBlock2D"] * 4}
        sd2: dict[str, Any] = {
            "block_out_channels": [128, 256, 512, 512],
            "layers_per_block": 2,
            "latent_channels": 4,
        }
        self.vae = AutoencoderKL(**kinds, **sd2).to(device).eval()
        text = CLIPTextConfig(
            hidden_size=1024,
            intermediate_size=4096,
            num_hidden_layers=23,
            num_attention_heads=16,
            hidden_act="gelu",
        )
        self.text = CLIPTextModel(text).to(device).eval()
        self.schedule = recipe.noise.schedule
        self.objective = Objective(DDPMScheduler(**self.schedule))
        self.size = batch
        self.pixels_BCHW = torch.rand(batch, 3, size, size, device=device) * 2 - 1
        self.words_BL = torch.randint(1000, 40000, (batch, 77), device=device)
        self.latents_BCHW, self.states_BLD = self.encoded()

    @torch.no_grad()
    def encoded(self) -> tuple[torch.Tensor, torch.Tensor]:
        latents_BCHW = self.vae.encode(self.pixels_BCHW).latent_dist.mean * self.vae.config.scaling_factor
        return latents_BCHW, self.text(self.words_BL).last_hidden_state

    def run(self, setting: Setting, steps: int) -> tuple[list[float], list[float]]:
        """Seconds of `steps` steps after a first one, and the losses of all."""
        config = TrainConfig(steps=1, batch_size=1, learning_rate=1e-4, **setting.train)
        unet = UNet2DConditionModel(**self.config)
        unet.load_state_dict(self.weights)
        unet = apply_tricks(unet.to(self.device).train(), config, "recipe")
        optimizer = torch.optim.AdamW(unet.parameters(), config.learning_rate, fused=config.fused_adamw)
        average = EMA(unet, 0.9999) if setting.average else None
        generator = torch.Generator(self.device).manual_seed(1)
        seconds, losses = [], []
        for step in range(steps + 1):
            began = time.perf_counter()
            timesteps_B = self.objective.draw_timesteps(self.size, generator, done=0)
            noise_BCHW = torch.randn(self.latents_BCHW.shape, generator=generator, device=self.device)
            with torch.autocast(self.device.type, torch.bfloat16, enabled=config.precision == "bf16"):
                latents, states = (self.latents_BCHW, self.states_BLD) if setting.ahead else self.encoded()
                noisy_BCHW = self.objective.noisy(latents, noise_BCHW, timesteps_B)
                said_BCHW = unet(noisy_BCHW, timesteps_B, states, return_dict=False)[0].float()
                loss = (said_BCHW - self.objective.target(latents, noise_BCHW, timesteps_B)).square().mean()
            loss.backward()
            clip_grad_norm_(unet.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            if average:
                average.update(step)
            losses.append(loss.item())
            seconds.append(time.perf_counter() - began)
        return seconds[1:], losses


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--width", type=float, default=0.5)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    bench = Bench(options.width, options.size, options.batch, pick_device(options.device))
    of_bf16 = set() if multiplies_bf16(bench.device) else {"precision", "low_precision_norms"}
    tricks = [(name, changes) for name, changes in TRICKS if not of_bf16 & changes.keys()]
    seconds: list[list[float]] = [[] for _ in tricks]
    losses: list[list[float]] = [[] for _ in tricks]
    for number in range(options.rounds):
        setting = Setting()
        for row, (name, changes) in enumerate(tricks):
            setting = setting.changed(changes)
            taken, losses[row] = bench.run(setting, options.steps)
            seconds[row] += taken
            print(f"round {number + 1}: {name}: {statistics.median(taken):.2f} s a step", flush=True)
    print(f"\n{'':40} images/s  to the row before  to the first  loss off by")
    rates = [options.batch / statistics.median(taken) for taken in seconds]
    for row, (name, _) in enumerate(tricks):
        line = f"{name:40} {rates[row]:8.3f}"
        if row:
            pairs = zip(losses[row - 1], losses[row], strict=True)
            off = max(abs(one - other) / one for one, other in pairs)
            line += f"{rates[row] / rates[row - 1]:18.2f}x{rates[row] / rates[0]:13.2f}x{off:12.2%}"
        print(line)


if __name__ == "__main__":
    main()
