import math

import pytest
import torch
from diffusers import DDPMScheduler
from hypothesis import given
from hypothesis import strategies as st

from commoncanvas.diffusion.objective import PREDICTION_TYPES, Objective

KINDS = pytest.mark.parametrize("kind", PREDICTION_TYPES)
timesteps = st.lists(st.integers(1, 999), min_size=1, max_size=20).map(torch.tensor)
gammas = st.floats(0.1, 20)


def recovered_x0(
    kind: str, noisy: torch.Tensor, output: torch.Tensor, signal: torch.Tensor, noise: torch.Tensor
) -> torch.Tensor:
    """The x_0 that an output of each kind stands for, from the definitions."""
    match kind:
        case "epsilon":
            return (noisy - noise * output) / signal
        case "v_prediction":
            return signal * noisy - noise * output
        case "sample":
            return output
    return noisy - noise * output


@given(steps=timesteps, gamma=gammas)
def test_every_target_weighs_the_same_error_in_x0_by_min_snr(steps: torch.Tensor, gamma: float) -> None:
    for kind in PREDICTION_TYPES:
        objective = Objective(DDPMScheduler(prediction_type=kind), min_snr_gamma=gamma)
        scales = tuple(scale.double() for scale in objective.scales(steps))
        noisy, off = torch.randn(len(steps), dtype=torch.float64), torch.full((len(steps),), 0.1).double()
        error = recovered_x0(kind, noisy, noisy + off, *scales) - recovered_x0(kind, noisy, noisy, *scales)
        snr = (scales[0] / scales[1]).square()
        weighted = objective.weights(steps) * off.square()
        assert torch.allclose(weighted, snr.clamp(max=gamma) * error.square(), rtol=1e-3)


@KINDS
def test_unasked_every_timestep_counts_one(kind: str) -> None:
    objective = Objective(DDPMScheduler(prediction_type=kind))
    assert objective.weights(torch.tensor([3, 900])).tolist() == [1, 1]


@KINDS
def test_weights_are_finite_at_both_ends(kind: str) -> None:
    scheduler = DDPMScheduler(prediction_type=kind, rescale_betas_zero_snr=True)
    ends = torch.tensor([0, 999 if kind != "flow_prediction" else 1000])
    assert Objective(scheduler, min_snr_gamma=5.0).weights(ends).isfinite().all()
    assert Objective(scheduler, sigma_weights="sqrt").weights(ends).isfinite().all()
    assert Objective(scheduler, sigma_weights="cosmap").weights(ends).isfinite().all()


def test_weights_by_noise_are_those_of_a_flow_at_that_share_of_noise() -> None:
    flow = DDPMScheduler(prediction_type="flow_prediction")
    found = Objective(flow, sigma_weights="cosmap").weights(torch.tensor([0.0, 500.0, 1000.0]))
    assert found.tolist() == pytest.approx([2 / math.pi, 4 / math.pi, 2 / math.pi])
    found = Objective(flow, sigma_weights="sqrt").weights(torch.tensor([0.0, 500.0, 1000.0]))
    assert found.tolist() == pytest.approx([1e6, 4, 1])


@KINDS
def test_targets_are_those_that_recover_the_clean_latent(kind: str) -> None:
    clean, noise = torch.randn(3, 4, 2, 2), torch.randn(3, 4, 2, 2)
    steps = torch.tensor([1, 500, 900])
    objective = Objective(DDPMScheduler(prediction_type=kind))
    noisy = objective.noisy(clean, noise, steps)
    scales = (scale[:, None, None, None] for scale in objective.scales(steps))
    found = recovered_x0(kind, noisy, objective.target(clean, noise, steps), *scales)
    assert torch.allclose(found, clean, atol=2e-4)


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample"])
def test_noise_is_mixed_in_as_diffusers_does_it(kind: str) -> None:
    clean, noise = torch.randn(3, 4, 2, 2), torch.randn(3, 4, 2, 2)
    steps = torch.tensor([0, 500, 999])
    scheduler = DDPMScheduler(prediction_type=kind)
    objective = Objective(scheduler)
    assert torch.equal(objective.noisy(clean, noise, steps), scheduler.add_noise(clean, noise, steps))
    if kind == "v_prediction":
        assert torch.equal(objective.target(clean, noise, steps), scheduler.get_velocity(clean, noise, steps))


@KINDS
@pytest.mark.parametrize("how", ["uniform", "stratified"])
@pytest.mark.parametrize("logit_normal", [None, (-0.5, 0.7)])
def test_timesteps_have_the_distribution_that_was_asked_for(
    kind: str, how: str, logit_normal: tuple[float, float] | None
) -> None:
    objective = Objective(DDPMScheduler(prediction_type=kind), how, logit_normal)
    drawn = objective.draw_timesteps(20_000, torch.Generator().manual_seed(1), 0.5)
    assert drawn.is_floating_point() == (kind == "flow_prediction")
    assert drawn.min() >= 0 and drawn.max() <= (1000 if kind == "flow_prediction" else 999)
    # Quantiles of the standard normal at 0.1, 0.5 and 0.9.
    for share, z in ((0.1, -1.2816), (0.5, 0.0), (0.9, 1.2816)):
        wanted = (
            share if logit_normal is None else 1 / (1 + math.exp(-(logit_normal[0] + logit_normal[1] * z)))
        )
        assert float(drawn.double().quantile(share)) / 1000 == pytest.approx(wanted, abs=0.015)


@KINDS
def test_a_curriculum_goes_from_its_first_mean_to_its_last(kind: str) -> None:
    objective = Objective(
        DDPMScheduler(prediction_type=kind), "stratified", logit_normal=(1.5, 0.8), logit_normal_end=-0.5
    )
    for done, mean in ((0.0, 1.5), (0.25, 1.0), (0.5, 0.5), (1.0, -0.5)):
        drawn = objective.draw_timesteps(20_000, torch.Generator().manual_seed(1), done)
        for share, z in ((0.1, -1.2816), (0.5, 0.0), (0.9, 1.2816)):
            wanted = 1 / (1 + math.exp(-(mean + 0.8 * z)))
            assert float(drawn.double().quantile(share)) / 1000 == pytest.approx(wanted, abs=0.005)


def test_stratified_timesteps_fill_every_interval() -> None:
    objective = Objective(DDPMScheduler(prediction_type="epsilon"), "stratified")
    drawn = objective.draw_timesteps(100, torch.Generator().manual_seed(2), 0.5)
    assert (drawn.sort().values // 10).tolist() == list(range(100))
    assert drawn.tolist() != drawn.sort().values.tolist()
