"""What is sharded is compiled block by block: around a block, code would break off where its weights are gathered."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from diffusers.models.attention import BasicTransformerBlock
from diffusers.models.resnet import ResnetBlock2D
from torch import nn

from commoncanvas.config import TrainConfig
from commoncanvas.training.distributed.ranks import Ranks
from commoncanvas.training.distributed.sharding import shared_loss
from commoncanvas.training.optimizations import apply_tricks
from tests.encoding.models import unet

ALONE = Ranks(0, 1, torch.device("cpu"))


def compiled(model: nn.Module, sharding: str, monkeypatch: pytest.MonkeyPatch) -> list[nn.Module]:
    """The modules that a training compiles."""
    found: list[nn.Module] = []
    monkeypatch.setattr(nn.Module, "compile", lambda module, **_: found.append(module))
    config: Any = TrainConfig(steps=1, batch_size=1, learning_rate=1, compile=True, sharding=sharding)
    loss: Any = SimpleNamespace(model=apply_tricks(model, config, "x"))
    shared_loss(loss, config, ALONE)
    return found


def test_the_blocks_of_a_sharded_network_are_compiled_that_hold_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = unet(8)
    kinds = (BasicTransformerBlock, ResnetBlock2D)
    wanted = [module for module in model.modules() if isinstance(module, kinds)]
    assert compiled(model, "full", monkeypatch) == wanted
    assert torch._dynamo.config.recompile_limit >= len(wanted)


def test_a_network_without_blocks_or_shards_is_compiled_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    model = unet(8)
    assert compiled(model, "none", monkeypatch) == [model]
    plain = nn.Sequential(nn.Linear(2, 2))
    assert compiled(plain, "full", monkeypatch) == [plain]
