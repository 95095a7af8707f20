"""The denoising objective: how noise is added, what the network predicts, and the weight of each noise level.

Shapes: B images, C latent channels, H and W latent cells; T timesteps. x_t = signal_t x_0 + noise_t noise, where

- diffusion (diffusers' DDPMScheduler): signal_t = sqrt(a_t), noise_t = sqrt(1 - a_t), a_t = alphas_cumprod[t];
- flow matching (prediction type `flow_prediction`; arXiv 2209.03003): signal_t = 1 - t / T, noise_t = t / T.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from diffusers import DDPMScheduler
from torch import Generator, Tensor

FLOW = "flow_prediction"
PREDICTION_TYPES = ("epsilon", "v_prediction", "sample", FLOW)


class Objective:
    """A recipe's `noise` as functions of a batch. `scheduler` has the schedule and the prediction type."""

    def __init__(
        self,
        scheduler: DDPMScheduler,
        timesteps: Literal["uniform", "stratified"] = "uniform",
        logit_normal: tuple[float, float] | None = None,
        logit_normal_end: float | None = None,
        min_snr_gamma: float | None = None,
        sigma_weights: Literal["sqrt", "cosmap"] | None = None,
    ) -> None:
        self.kind: str = scheduler.config.prediction_type
        self.steps: int = scheduler.config.num_train_timesteps
        self.timesteps = timesteps
        self.logit_normal = logit_normal
        self.logit_normal_end = logit_normal_end
        self.min_snr_gamma = min_snr_gamma
        self.sigma_weights = sigma_weights
        self._alphas_T: Tensor = scheduler.alphas_cumprod

    def draw_timesteps(self, size: int, generator: Generator, done: float) -> Tensor:
        """Draw timesteps [size] on the generator's device: integers in 0..T-1, or for a flow real numbers in [0, T].

        `done`, in [0, 1], is the share of the training that is done.

        `uniform` draws each independently. `stratified` draws one from each of `size` equally likely intervals, in
        random order: the distribution of each is the same, and the batch's mean loss varies less (like the
        low-discrepancy sampler of arXiv 2107.00630, I.1). The distribution is uniform, or with `logit_normal` that of
        T sigmoid(mean + deviation z), z normal (arXiv 2403.03206, 3.1). The mean moves to `logit_normal_end` linearly:
        a curriculum from easy to hard (arXiv 2403.10348), without that paper's steps and measure of difficulty.
        """
        device = generator.device
        places_B = torch.rand(size, generator=generator, device=device)
        if self.timesteps == "stratified":
            places_B = (torch.randperm(size, generator=generator, device=device) + places_B) / size
        if self.logit_normal:
            mean, deviation = self.logit_normal
            if self.logit_normal_end is not None:
                mean += done * (self.logit_normal_end - mean)
            places_B = torch.sigmoid(mean + deviation * torch.special.ndtri(places_B))
        timesteps_B = places_B * self.steps
        return timesteps_B if self.kind == FLOW else timesteps_B.long().clamp_(max=self.steps - 1)

    def scales(self, timesteps_B: Tensor) -> tuple[Tensor, Tensor]:
        """signal_t and noise_t, [B]."""
        if self.kind == FLOW:
            noise_B = timesteps_B / self.steps
            return 1 - noise_B, noise_B
        self._alphas_T = self._alphas_T.to(timesteps_B.device)
        alphas_B = self._alphas_T[timesteps_B]
        return alphas_B.sqrt(), (1 - alphas_B).sqrt()

    def noisy(self, latents_BCHW: Tensor, noise_BCHW: Tensor, timesteps_B: Tensor) -> Tensor:
        """x_t [B, C, H, W]."""
        signal_B111, noise_B111 = (scale[:, None, None, None] for scale in self.scales(timesteps_B))
        return signal_B111 * latents_BCHW + noise_B111 * noise_BCHW

    def target(self, latents_BCHW: Tensor, noise_BCHW: Tensor, timesteps_B: Tensor) -> Tensor:
        """What the network should predict: the noise, v = signal_t noise - noise_t x_0 (arXiv 2202.00512), x_0, or a
        flow's velocity, noise - x_0.
        """
        match self.kind:
            case "epsilon":
                return noise_BCHW
            case "v_prediction":
                signal_B111, noise_B111 = (scale[:, None, None, None] for scale in self.scales(timesteps_B))
                return signal_B111 * noise_BCHW - noise_B111 * latents_BCHW
            case "sample":
                return latents_BCHW
        return noise_BCHW - latents_BCHW

    def weights(self, timesteps_B: Tensor) -> Tensor:
        """Weight [B] of each sample's mean squared error in the network's own target; 1 by default.

        min-SNR-gamma (Hang et al., arXiv 2303.09556, section 3.4) weighs the error in x_0 by min(SNR, gamma), SNR =
        (signal_t / noise_t)^2. On the network's target that is min(SNR, gamma) / SNR for epsilon, min(SNR, gamma) for
        x_0, and noise_t^2 min(SNR, gamma) for v and for a flow's velocity, whose error is that of x_0 over noise_t.
        `sigma_weights` use the share of noise, s = noise_t / (signal_t + noise_t), for a flow t / T: `sqrt` is 1 / s^2,
        s at least 1 / T, `cosmap` 2 / (pi (1 - 2 s + 2 s^2)) (arXiv 2403.03206, 3.1, and diffusers' training scripts).
        """
        signal_B, noise_B = self.scales(timesteps_B)
        if self.min_snr_gamma is not None:
            snr_B = (signal_B / noise_B).square()
            clipped_B = snr_B.clamp(max=self.min_snr_gamma)
            match self.kind:
                case "epsilon":
                    # At zero terminal SNR the ratio's limit is 1.
                    return torch.where(snr_B > 0, clipped_B / snr_B, torch.ones_like(snr_B))
                case "sample":
                    return clipped_B
            return noise_B.square() * clipped_B
        share_B = noise_B / (signal_B + noise_B)
        match self.sigma_weights:
            case "sqrt":
                return share_B.clamp(min=1 / self.steps).pow(-2)
            case "cosmap":
                return 2 / (math.pi * (1 - 2 * share_B + 2 * share_B.square()))
        return torch.ones_like(signal_B)
