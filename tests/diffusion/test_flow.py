"""Flow matching: what training learns is what diffusers' samplers ask for."""

from pathlib import Path

import pytest
import torch
from diffusers import DDPMScheduler, StableDiffusionPipeline

from commoncanvas.core.errors import RecipeError
from commoncanvas.diffusion.batches import Painter
from commoncanvas.diffusion.objective import Objective
from commoncanvas.diffusion.sampling import pipeline_scheduler
from commoncanvas.training.trainer import Trainer, train
from tests.training.tiny import recipe

FLOW = ("--noise.schedule.prediction_type", "flow_prediction")
SAMPLER = ("--sample.scheduler", "DPMSolverMultistepScheduler")


@pytest.mark.parametrize("sampler", ["DPMSolverMultistepScheduler", "UniPCMultistepScheduler"])
def test_a_sampler_that_is_told_the_true_velocity_arrives_at_the_image(sampler: str) -> None:
    training = DDPMScheduler(prediction_type="flow_prediction")
    scheduler = pipeline_scheduler(training, sampler, guidance_scale=1, steps=10)
    scheduler.set_timesteps(10)
    objective = Objective(training)
    clean, noise = torch.randn(1, 4, 2, 2), torch.randn(1, 4, 2, 2)
    latents = noise * scheduler.init_noise_sigma
    for timestep in scheduler.timesteps:
        # Where the sampler says that it is, on training's own straight line; it rounds timesteps down.
        on_line = objective.noisy(clean, noise, timestep[None].float())
        assert torch.allclose(scheduler.scale_model_input(latents, timestep), on_line, atol=0.02)
        velocity = objective.target(clean, noise, timestep[None])
        latents = scheduler.step(velocity, timestep, latents, return_dict=False)[0]
    # It begins with all noise where the line has a thousandth of the image.
    assert torch.allclose(latents, clean, atol=5e-3)


@pytest.mark.slow
def test_a_trained_flow_is_a_plain_diffusers_pipeline(encoded: Path, tmp_path: Path) -> None:
    folder = train(recipe("xs", tmp_path, *FLOW, *SAMPLER, "--noise.logit_normal", "[0, 1]"))
    pipeline = StableDiffusionPipeline.from_pretrained(folder, safety_checker=None)
    assert pipeline.scheduler.config.use_flow_sigmas
    (image,) = Painter(pipeline).images(["a red square"], seeds=[1], guidance_scale=3, steps=3)
    assert image.size == (16, 16)


def test_a_curriculum_follows_the_steps_of_the_whole_training_also_after_a_stop(
    encoded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[float] = []
    draw_timesteps = Objective.draw_timesteps

    def draw(self: Objective, size: int, generator: torch.Generator, done: float) -> torch.Tensor:
        seen.append(done)
        if len(seen) == 4:
            raise RuntimeError("stopped by the test")
        return draw_timesteps(self, size, generator, done)

    words = (*FLOW, *SAMPLER, "--noise.logit_normal", "[1.5, 0.8]", "--noise.logit_normal_end", "-0.5")
    chosen = recipe("xs", tmp_path, *words, "--train.steps", "4", "--train.checkpoint_every", "2")
    # What counts the FLOPs draws too, before the training.
    monkeypatch.setattr(Trainer, "_busy_seconds", lambda self: [1.0])
    monkeypatch.setattr(Objective, "draw_timesteps", draw)
    with pytest.raises(RuntimeError, match="stopped by the test"):
        train(chosen)
    train(chosen, resume=True)
    assert seen == [0, 0.25, 0.5, 0.75, 0.5, 0.75]


def test_the_end_of_a_curriculum_needs_a_beginning(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="logit_normal_end needs logit_normal; give it too"):
        recipe("xs", tmp_path, "--noise.logit_normal_end", "-0.5")


def test_zero_terminal_snr_asks_for_a_prediction_that_can_begin_there(tmp_path: Path) -> None:
    words = ("--noise.schedule.rescale_betas_zero_snr", "true")
    with pytest.raises(RecipeError, match="ends in pure noise, where epsilon says nothing about the image"):
        recipe("xs", tmp_path, *words)
    recipe("xs", tmp_path, *words, "--noise.schedule.prediction_type", "v_prediction")


def test_a_sampler_that_knows_no_flow_is_named_before_the_training(encoded: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="DDIMScheduler can't sample a flow"):
        train(recipe("xs", tmp_path, *FLOW))
