import torch
from diffusers import DDPMScheduler
from hypothesis import given
from hypothesis import strategies as st

from commoncanvas.diffusion.objective import loss_weights, snr, target

alphas = st.lists(st.floats(1e-4, 0.9999), min_size=1, max_size=20).map(
    lambda values: torch.tensor(values).double()
)
gammas = st.floats(0.1, 20)


def recovered_x0(kind: str, noisy: torch.Tensor, output: torch.Tensor, alpha: torch.Tensor) -> torch.Tensor:
    """The x_0 that an output of each kind stands for, from the definitions."""
    root, noise_root = alpha.sqrt(), (1 - alpha).sqrt()
    if kind == "epsilon":
        return (noisy - noise_root * output) / root
    return root * noisy - noise_root * output if kind == "v_prediction" else output


@given(alpha=alphas, gamma=gammas)
def test_every_target_weighs_the_same_error_in_x0_by_min_snr(alpha: torch.Tensor, gamma: float) -> None:
    noisy = torch.randn(len(alpha), dtype=torch.float64)
    for kind in ("epsilon", "v_prediction", "sample"):
        off = torch.full_like(noisy, 0.1)
        error = recovered_x0(kind, noisy, noisy + off, alpha) - recovered_x0(kind, noisy, noisy, alpha)
        weighted = loss_weights(alpha, kind, gamma) * off.square()
        assert torch.allclose(weighted, snr(alpha).clamp(max=gamma) * error.square(), rtol=1e-6)


def test_without_gamma_every_timestep_counts_one() -> None:
    assert loss_weights(torch.tensor([0.1, 0.9]), "epsilon", None).tolist() == [1, 1]


def test_zero_terminal_snr_gives_finite_weights() -> None:
    alpha = torch.tensor([0.5, 0.0])
    for kind in ("epsilon", "v_prediction", "sample"):
        assert loss_weights(alpha, kind, 5.0).isfinite().all()


def test_targets_are_those_that_recover_the_clean_latent() -> None:
    clean, noise = torch.randn(3, 4, 2, 2), torch.randn(3, 4, 2, 2)
    steps = torch.tensor([1, 500, 900])
    for kind in ("epsilon", "v_prediction", "sample"):
        scheduler = DDPMScheduler(prediction_type=kind)
        alpha = scheduler.alphas_cumprod[steps][:, None, None, None]
        noisy = scheduler.add_noise(clean, noise, steps)
        found = recovered_x0(kind, noisy, target(scheduler, clean, noise, steps), alpha)
        assert torch.allclose(found, clean, atol=2e-4)
