"""What a run starts from is looked at first: where it is, its network, and the noise schedule that it learned on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    PNDMScheduler,
)

from commoncanvas.catalog import Catalog
from commoncanvas.config import DiffusionRecipe
from commoncanvas.core.errors import ModelError, RecipeError
from commoncanvas.encoding.command import encode
from commoncanvas.planning.command import plan
from commoncanvas.provenance.record_file import read_provenance
from commoncanvas.training.init_weights import check_init
from commoncanvas.training.resume import resolved
from commoncanvas.training.trainer import train
from tests.encoding.models import sd2
from tests.training.test_family import SD
from tests.training.tiny import recipe

SD_BETAS = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
V = {"prediction_type": "v_prediction"}


def begun(folder: Path, scheduler: Any, *words: str) -> DiffusionRecipe:
    """XS, from a pipeline that has `scheduler`."""
    scheduler.save_pretrained(folder / "pipeline" / "scheduler")
    (folder / "pipeline" / "unet").mkdir(exist_ok=True)
    (folder / "pipeline" / "model_index.json").write_text("{}")
    made = recipe("xs", folder, "--init", str(folder / "pipeline"), *words)
    assert isinstance(made, DiffusionRecipe)
    return made


@pytest.mark.parametrize(
    ("scheduler", "says"),
    [
        (DDPMScheduler(**SD_BETAS, clip_sample=False), None),
        (PNDMScheduler(**SD_BETAS, steps_offset=1), None),
        (DDIMScheduler(**SD_BETAS, steps_offset=1, set_alpha_to_one=False), None),
        (EulerDiscreteScheduler(**SD_BETAS, timestep_spacing="leading"), None),
        (DPMSolverMultistepScheduler(**SD_BETAS), "timestep_spacing 'linspace', not 'leading'"),
        (
            DDPMScheduler(),
            "beta_start 0.0001, not 0.00085; beta_end 0.02, not 0.012; beta_schedule 'linear', not",
        ),
        (DDIMScheduler(**SD_BETAS, num_train_timesteps=500), "num_train_timesteps 500, not 1000"),
        (
            DDIMScheduler(**SD_BETAS, timestep_spacing="trailing"),
            "timestep_spacing 'trailing', not 'leading'",
        ),
        (DDIMScheduler(**SD_BETAS, rescale_betas_zero_snr=True), "rescale_betas_zero_snr True, not False"),
        (DDPMScheduler(**SD_BETAS, trained_betas=[0.1] * 1000), "trained_betas [0.1, 0.1"),
    ],
)
def test_where_the_noise_schedule_of_init_differs_a_line_says_so(
    scheduler: Any, says: str | None, tmp_path: Path
) -> None:
    made = begun(tmp_path, scheduler)
    for init in ("pipeline", "pipeline/unet"):
        lines = check_init(made.model_copy(update={"init": str(tmp_path / init)}))
        assert len(lines) == (says is not None)
        if says:
            assert says in lines[0] and lines[0].endswith("; to use it, add --noise.schedule from-init")


def test_a_pipeline_of_another_prediction_is_refused_and_its_network_alone_said(tmp_path: Path) -> None:
    made = begun(tmp_path, DDIMScheduler(**SD_BETAS, **V))
    with pytest.raises(
        RecipeError,
        match=r"has prediction_type v_prediction, but noise\.schedule\.prediction_type is epsilon",
    ):
        check_init(made)
    (line,) = check_init(made.model_copy(update={"init": str(tmp_path / "pipeline" / "unet")}))
    assert "prediction_type 'v_prediction', not 'epsilon'" in line
    flow = begun(tmp_path, FlowMatchEulerDiscreteScheduler())
    with pytest.raises(RecipeError, match="has prediction_type flow_prediction"):
        check_init(flow)


@pytest.mark.parametrize(
    "scheduler",
    [
        DDPMScheduler(),
        DDIMScheduler(**SD_BETAS, **V, rescale_betas_zero_snr=True, timestep_spacing="trailing"),
        PNDMScheduler(**SD_BETAS, num_train_timesteps=500, steps_offset=1),
        DDPMScheduler(beta_schedule="squaredcos_cap_v2", prediction_type="sample"),
        FlowMatchEulerDiscreteScheduler(),
    ],
)
def test_from_init_takes_over_the_whole_schedule(scheduler: Any, tmp_path: Path) -> None:
    made = resolved(begun(tmp_path, scheduler, "--noise.schedule", "from-init"), None)
    assert isinstance(made.noise.schedule, dict)
    assert check_init(made) == ()
    ours = DDPMScheduler(**made.noise.schedule)
    assert len(ours) == len(scheduler)
    if isinstance(scheduler, FlowMatchEulerDiscreteScheduler):
        assert ours.config.prediction_type == "flow_prediction"
    else:
        assert ours.config.prediction_type == scheduler.config.prediction_type
        assert ours.alphas_cumprod.allclose(scheduler.alphas_cumprod, atol=1e-6)
        assert ours.config.timestep_spacing == scheduler.config.timestep_spacing


def test_from_init_needs_a_schedule_that_can_be_read(tmp_path: Path) -> None:
    alone = recipe("xs", tmp_path, "--noise.schedule", "from-init")
    with pytest.raises(RecipeError, match=r"noise\.schedule from-init needs an init"):
        resolved(alone, None)
    (tmp_path / "bare").mkdir()
    with pytest.raises(RecipeError, match=r"init .*/bare has no scheduler/scheduler_config\.json"):
        resolved(
            recipe("xs", tmp_path, "--noise.schedule", "from-init", "--init", str(tmp_path / "bare")), None
        )
    made = begun(tmp_path, DDPMScheduler(), "--noise.schedule", "from-init")
    for text in (
        "{",
        '{"_class_name": "Trainer"}',
        '{"_class_name": "DDPMScheduler", "beta_schedule": "odd"}',
    ):
        (tmp_path / "pipeline" / "scheduler" / "scheduler_config.json").write_text(text)
        with pytest.raises(ModelError, match=r"scheduler_config\.json can't be read"):
            resolved(made, None)
    zero = DDIMScheduler(**SD_BETAS, rescale_betas_zero_snr=True)
    with pytest.raises(RecipeError, match="ends in pure noise, where epsilon says nothing about the image"):
        resolved(begun(tmp_path, zero, "--noise.schedule", "from-init"), None)


def test_a_run_from_another_schedule_says_so_and_from_init_is_recorded_whole(
    shapes: Catalog, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = sd2(tmp_path / "sd2")  # of linear betas
    config = json.loads((tmp_path / "sd2" / "unet" / "config.json").read_text())
    same = ["--unet.down_block_types", "[DownBlock2D, CrossAttnDownBlock2D]"]
    same += [
        "--unet.up_block_types",
        "[CrossAttnUpBlock2D, UpBlock2D]",
        "--unet.block_out_channels",
        "[8, 8]",
    ]
    same += ["--unet.resnet_time_scale_shift", "default", "--unet.addition_embed_type_num_heads", "64"]
    assert config["layers_per_block"] == 1
    words = ["--vae", model, "--text_encoder", model, *SD, *same, "--init", model, "--train.steps", "1"]
    encode(recipe("xs", tmp_path, *words))
    train(recipe("xs", tmp_path, *words))
    said = " ".join(capsys.readouterr().err.split())
    assert "has a different noise.schedule: beta_start 0.0001, not 0.00085" in said
    taken = [*words, "--noise.schedule", "from-init", "--out", str(tmp_path / "taken")]
    folder = train(recipe("xs", tmp_path, *taken))
    assert "different noise.schedule" not in capsys.readouterr().err
    assert train(recipe("xs", tmp_path, *taken), resume=True) == folder
    schedule = read_provenance(folder)["recipe"]["noise"]["schedule"]
    assert (schedule["beta_start"], schedule["beta_schedule"]) == (0.0001, "linear")
    written = json.loads((folder / "scheduler" / "scheduler_config.json").read_text())
    assert written["beta_start"] == 0.0001


def test_init_that_is_not_there_is_found_before_anything_is_read(tmp_path: Path) -> None:
    made = recipe("xs", tmp_path, "--init", str(tmp_path / "gone"))  # nor is the catalog
    with pytest.raises(
        ModelError, match=rf"xs: init {tmp_path}/gone: there is no such folder; train or download it"
    ):
        train(made)


def test_a_plan_looks_at_init_and_says_what_it_is_not(tmp_path: Path) -> None:
    model = sd2(tmp_path / "sd2")
    words = ["--vae", model, "--text_encoder", model, *SD, "--init"]
    with pytest.raises(
        RecipeError, match=r"the network of init .*sd2 differs from the recipe's; change unet to match it"
    ):
        plan(recipe("xs", tmp_path, *words, model), device="a100", images=10)
    (tmp_path / "empty").mkdir()
    with pytest.raises(RecipeError, match=r"init .*empty has no config\.json of a unet"):
        plan(recipe("xs", tmp_path, *words, str(tmp_path / "empty")), device="a100", images=10)
    (phase,) = plan(recipe("xs", tmp_path, *words, str(tmp_path / "gone")), device="a100", images=10).phases
    assert any(
        "gone, whose training is not counted and which is not a folder here yet" in note
        for note in phase.notes
    )
