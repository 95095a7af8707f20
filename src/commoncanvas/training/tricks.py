"""What makes a step faster, each on a switch of its own; what the network learns stays the same but for rounding."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from diffusers.models.attention_processor import AttnProcessor
from torch import Tensor, nn

from commoncanvas.config import TrainConfig
from commoncanvas.errors import RecipeError
from commoncanvas.training.alignment import network_of


def apply_tricks(model: nn.Module, config: TrainConfig, name: str) -> nn.Module:
    """The model as `config` has it run, its weights' names as they were. Raises RecipeError for what it can't do.

    What is `auto` goes by the device that the model is on. On CPUs torch's fused attention is slower, forward and
    backward, than its products one by one, and so is group norm with channels last; see benchmarks/recipe.py.
    """
    on_cpu = next(model.parameters()).device.type == "cpu"
    if config.channels_last is True or (config.channels_last == "auto" and not on_cpu):
        # Only weights with four dimensions have channels to put last.
        model = model.to(memory_format=torch.channels_last)
    network = network_of(model)
    if config.activation_checkpointing:
        _call(network, "enable_gradient_checkpointing", name, "activation_checkpointing")
    if config.attention == "plain" or (
        config.attention == "auto" and on_cpu and hasattr(network, "set_attn_processor")
    ):
        _call(network, "set_attn_processor", name, "attention", AttnProcessor())
    if config.low_precision_norms:
        lower_norms(model)
    if config.compile and config.sharding == "none":
        network.compile()  # what is sharded is compiled block by block, see `shared_loss`
    return model


def lower_norms(model: nn.Module) -> None:
    """Group and layer norms compute in autocast's precision from now on."""
    for module in model.modules():
        if lower := _LOWER.get(type(module)):
            module.__class__ = lower


class LowPrecisionGroupNorm(nn.GroupNorm):
    """Stays in autocast's precision, where autocast itself would go up to fp32 and back, which costs memory traffic."""

    def forward(self, input: Tensor) -> Tensor:
        dtype = _autocast_dtype(input)
        with torch.autocast(input.device.type, enabled=False):
            weight, bias = _lower(self.weight, dtype), _lower(self.bias, dtype)
            return F.group_norm(input.to(dtype), self.num_groups, weight, bias, self.eps)


class LowPrecisionLayerNorm(nn.LayerNorm):
    """As LowPrecisionGroupNorm."""

    def forward(self, input: Tensor) -> Tensor:
        dtype = _autocast_dtype(input)
        with torch.autocast(input.device.type, enabled=False):
            weight, bias = _lower(self.weight, dtype), _lower(self.bias, dtype)
            return F.layer_norm(input.to(dtype), self.normalized_shape, weight, bias, self.eps)


_LOWER = {nn.GroupNorm: LowPrecisionGroupNorm, nn.LayerNorm: LowPrecisionLayerNorm}


def _autocast_dtype(tensor: Tensor) -> torch.dtype:
    kind = tensor.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else tensor.dtype


def _lower(weight: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    return None if weight is None else weight.to(dtype)


def _call(model: nn.Module, method: str, name: str, field: str, *arguments: Any) -> None:
    try:
        getattr(model, method)(*arguments)
    except (AttributeError, ValueError) as error:
        raise RecipeError(f"{name}: train.{field}: {type(model).__name__} can't do that") from error
