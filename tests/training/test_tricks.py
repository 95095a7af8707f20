"""Each trick on its switch: the same losses but for rounding, the same names of weights."""

from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from diffusers.models.resnet import ResnetBlock2D
from torch import nn

from commoncanvas.config import TrainConfig
from commoncanvas.core.errors import RecipeError
from commoncanvas.training.log import read_log
from commoncanvas.training.optimizations import apply_tricks
from commoncanvas.training.trainer import train
from tests.training.tiny import recipe

TRICKS = [
    pytest.param("fp32", ("--train.attention", "plain"), 1e-4, id="attention"),
    pytest.param("fp32", ("--train.fused_adamw", "false"), 1e-4, id="adamw"),
    pytest.param("fp32", ("--train.channels_last", "true"), 1e-4, id="channels-last"),
    pytest.param("bf16", ("--train.low_precision_norms", "true"), 2e-2, id="norms"),
    pytest.param("fp32", ("--train.compile", "true"), 1e-4, id="compile", marks=pytest.mark.heavy),
]


@pytest.mark.parametrize(("precision", "words", "tolerance"), TRICKS)
@pytest.mark.slow
def test_a_trick_leaves_the_losses_as_they_were(
    precision: str, words: tuple[str, ...], tolerance: float, encoded: Path, tmp_path: Path
) -> None:
    losses = []
    for name, tricks in (("without", ()), ("with", words)):
        train(recipe("xs", tmp_path, "--train.precision", precision, *tricks, "--out", str(tmp_path / name)))
        log = read_log(tmp_path / f"{name}-run" / "log.jsonl")
        losses.append([entry["loss"] for entry in log])
    assert losses[1] == pytest.approx(losses[0], rel=tolerance)
    # The switch did something.
    assert losses[1] != losses[0] or precision == "fp32"


def test_compile_reaches_networks_that_are_not_called_as_a_whole() -> None:
    sides = {"down_block_types": ["DownEncoderBlock2D"], "up_block_types": ["UpDecoderBlock2D"]}
    vae = AutoencoderKL(**sides, block_out_channels=[8], norm_num_groups=4)
    config = TrainConfig(steps=1, batch_size=1, learning_rate=1, compile=True)
    compiled = [
        type(module).__name__
        for module in apply_tricks(vae, config, "x").modules()
        if module._compiled_call_impl is not None
    ]
    assert set(compiled) == {"ResnetBlock2D"}  # what encode and decode call
    assert len(compiled) == sum(type(module) is ResnetBlock2D for module in vae.modules())


def test_norms_stay_in_the_precision_of_what_is_around_them_and_keep_their_names() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 1), nn.GroupNorm(2, 8), nn.Flatten(2), nn.LayerNorm(16))
    names = list(model.state_dict())
    x = torch.randn(2, 3, 4, 4)
    whole = model(x)
    config = TrainConfig(
        steps=1, batch_size=1, learning_rate=1, low_precision_norms=True, channels_last=False
    )
    model = apply_tricks(model, config, "x")
    assert list(model.state_dict()) == names
    assert torch.equal(model(x), whole)
    with torch.autocast("cpu", torch.bfloat16):
        low = model(x)
        assert low.dtype == torch.bfloat16
        low.float().square().mean().backward()
    assert torch.allclose(low.float(), whole, atol=0.1)
    assert model[1].weight.grad.dtype == torch.float32 and model[1].weight.grad.abs().sum() > 0


@pytest.mark.parametrize("field", ["activation_checkpointing", "attention"])
def test_a_network_that_cannot_do_a_trick_is_named(field: str) -> None:
    config = TrainConfig(
        steps=1, batch_size=1, learning_rate=1, **{field: "plain" if field == "attention" else True}
    )
    with pytest.raises(RecipeError, match=f"x: train.{field}: Linear does not support it"):
        apply_tricks(nn.Linear(1, 1), config, "x")


def test_auto_is_what_the_device_is_fastest_with_and_leaves_a_network_without_attention_alone() -> None:
    network = UNet2DConditionModel(
        block_out_channels=(8, 8),
        norm_num_groups=4,
        attention_head_dim=4,
        cross_attention_dim=8,
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
    )
    config = TrainConfig(steps=1, batch_size=1, learning_rate=1)
    on_cpu = apply_tricks(network, config, "x")
    assert {type(each) for each in on_cpu.attn_processors.values()} == {AttnProcessor}
    assert not on_cpu.conv_in.weight.is_contiguous(memory_format=torch.channels_last)
    on_gpu = apply_tricks(on_cpu.to("meta"), config.model_copy(update={"attention": "sdpa"}), "x")
    assert on_gpu.conv_in.weight.is_contiguous(memory_format=torch.channels_last)
    apply_tricks(nn.Linear(1, 1), config, "x")
