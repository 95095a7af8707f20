"""The denoising objective: which target the network learns, and how much each noise level counts.

Shapes: B images, C latent channels, H and W latent cells; timesteps_B are integers.
The forward process is diffusers' DDPMScheduler: x_t = sqrt(a_t) x_0 + sqrt(1 - a_t) noise, a_t = alphas_cumprod[t].
"""

from __future__ import annotations

import torch
from diffusers import DDPMScheduler
from torch import Generator, Tensor

PREDICTION_TYPES = ("epsilon", "v_prediction", "sample")


def snr(alphas_cumprod_T: Tensor) -> Tensor:
    """Signal-to-noise ratio a / (1 - a) of each timestep [T]."""
    return alphas_cumprod_T / (1 - alphas_cumprod_T)


def loss_weights(alphas_cumprod_T: Tensor, prediction_type: str, min_snr_gamma: float | None) -> Tensor:
    """Weight of each timestep [T] on the mean squared error of the network's own target.

    min-SNR-gamma (Hang et al., arXiv 2303.09556, section 3.4) weighs the error in x_0 by min(SNR, gamma). Written as a
    weight on the network's target that is min(SNR, gamma)/SNR for epsilon, min(SNR, gamma)/(SNR + 1) for v, and
    min(SNR, gamma) for x_0. Without gamma every timestep counts 1.
    """
    if min_snr_gamma is None:
        return torch.ones_like(alphas_cumprod_T)
    ratio = snr(alphas_cumprod_T)
    clipped = ratio.clamp(max=min_snr_gamma)
    match prediction_type:
        case "epsilon":
            # At zero terminal SNR the ratio's limit is 1.
            return torch.where(ratio > 0, clipped / ratio, torch.ones_like(ratio))
        case "v_prediction":
            return clipped / (ratio + 1)
        case "sample":
            return clipped
    raise ValueError(f"unknown prediction type {prediction_type}")


def draw_timesteps(size: int, steps: int, how: str, generator: Generator) -> Tensor:
    """Timesteps [size] in 0..steps-1, on the generator's device.

    `uniform` draws each alone. `stratified` draws one from each of `size` equal intervals, in random order: each is
    uniform still, and the batch's mean loss varies less (as the low-discrepancy sampler of arXiv 2107.00630, I.1).
    """
    device = generator.device
    if how == "uniform":
        return torch.randint(steps, (size,), generator=generator, device=device)
    places = torch.rand(size, generator=generator, device=device)
    places = (torch.randperm(size, generator=generator, device=device) + places) / size
    return (places * steps).long().clamp_(max=steps - 1)


def target(scheduler: DDPMScheduler, latents_BCHW: Tensor, noise_BCHW: Tensor, timesteps_B: Tensor) -> Tensor:
    """What the network should output: the noise, v = sqrt(a) noise - sqrt(1 - a) x_0 (arXiv 2202.00512), or x_0."""
    match scheduler.config.prediction_type:
        case "epsilon":
            return noise_BCHW
        case "v_prediction":
            velocity: Tensor = scheduler.get_velocity(latents_BCHW, noise_BCHW, timesteps_B)
            return velocity
        case "sample":
            return latents_BCHW
    raise ValueError(f"unknown prediction type {scheduler.config.prediction_type}")
