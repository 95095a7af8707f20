"""Samplers that can't do what the noise schedule says are refused before training."""

from typing import Any

import pytest
import torch
from diffusers import DDPMScheduler

from commoncanvas.core.errors import RecipeError
from commoncanvas.diffusion.sampling import pipeline_scheduler

ZERO = {"prediction_type": "v_prediction", "rescale_betas_zero_snr": True}
TRAILING = {"timestep_spacing": "trailing"}


def sampler(name: str, **noise: object) -> Any:
    return pipeline_scheduler(DDPMScheduler(**noise), name, guidance_scale=1, steps=20)


@pytest.mark.parametrize(
    ("name", "noise", "says"),
    [
        ("PNDMScheduler", ZERO | TRAILING, "PNDMScheduler ignores fields of the noise schedule"),
        (
            "DEISMultistepScheduler",
            ZERO | TRAILING,
            "DEISMultistepScheduler ignores fields of the noise schedule",
        ),
        ("DDIMScheduler", ZERO, "must begin at timestep 999, pure noise, not at 950"),
        ("PNDMScheduler", {"prediction_type": "sample"}, "PNDMScheduler can't sample with these settings"),
        ("DDIMScheduler", {"prediction_type": "flow_prediction"}, "DDIMScheduler can't sample a flow"),
        ("DEISMultistepScheduler", {"prediction_type": "flow_prediction"}, "leaves noise in a flow's images"),
        ("EDMEulerScheduler", {}, "EDMEulerScheduler can't sample"),
        ("HeliosScheduler", {}, "HeliosScheduler can't sample"),
        ("Unheard", {}, "diffusers has no scheduler 'Unheard'"),
    ],
)
def test_a_sampler_that_cannot_do_it_is_named(name: str, noise: dict[str, object], says: str) -> None:
    with pytest.raises(RecipeError, match=says) as caught:
        sampler(name, **noise)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["DDIMScheduler", "EulerDiscreteScheduler", "UniPCMultistepScheduler"])
@pytest.mark.parametrize("noise", [{}, ZERO | TRAILING, {"prediction_type": "sample"}])
def test_those_that_can_begin_afresh_each_time(name: str, noise: dict[str, object]) -> None:
    made = sampler(name, **noise)
    made.set_timesteps(3)
    noisy_BCHW = torch.randn(1, 1, 2, 2)
    for timestep in made.timesteps:
        noisy_BCHW = made.step(noisy_BCHW, timestep, noisy_BCHW).prev_sample
    assert noisy_BCHW.isfinite().all()
