"""Faster training steps, each with its own switch. The network learns the same, except for rounding."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from torch import Tensor, nn

from commoncanvas.config import TrainConfig
from commoncanvas.core.errors import RecipeError
from commoncanvas.diffusion.networks.alignment import network_of


def apply_tricks(model: nn.Module, config: TrainConfig, name: str) -> nn.Module:
    """Apply the optimisations of `config` to the model; names of weights don't change.

    The model's device decides about `auto`. On CPUs torch's fused attention is slower than plain attention, forward
    and backward, and group norm is slower with channels last; see benchmarks/recipe.py. Raises RecipeError for an
    optimisation that the model does not support.
    """
    on_cpu = next(model.parameters()).device.type == "cpu"
    if config.channels_last is True or (config.channels_last == "auto" and not on_cpu):
        # It changes only weights with four dimensions.
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
    if config.compile and config.sharding == "none":  # a sharded model is compiled later, see `shared_loss`
        if isinstance(network, UNet2DConditionModel):
            network.compile()
        else:
            compile_blocks(model)
    return model


def blocks(model: nn.Module) -> list[nn.Module]:
    """The modules that are sharded one by one, outer before inner: the library's `_no_split_modules` (diffusers,
    transformers), or else the items of the outermost lists.
    """
    names = getattr(network_of(model), "_no_split_modules", None) or ()
    return [module for module in model.modules() if type(module).__name__ in names] or _items(model)


def compile_blocks(model: nn.Module) -> None:
    """Compile each innermost of the `blocks`, or the network if there are none.

    Gathering a block's weights would break the graph of the code around it, and a loop over blocks would not be
    compiled at all. A task may also call methods other than a network's forward, or run blocks itself.
    """
    found = blocks(model)
    inner = [block for block in found if not set(block.modules()) & (set(found) - {block})]
    # Blocks of one class share a limit of compiled variants, and run uncompiled beyond it. Each needs up to four: for
    # training and evaluation, each with whole batches and a smaller last part.
    config = torch.compiler.config
    config.recompile_limit = max(config.recompile_limit, 4 * len(inner))
    for block in inner or [network_of(model)]:
        block.compile(dynamic=False)


def lower_norms(model: nn.Module) -> None:
    """Make group and layer norms compute in autocast's precision."""
    for module in model.modules():
        if lower := _LOWER.get(type(module)):
            module.__class__ = lower


class LowPrecisionGroupNorm(nn.GroupNorm):
    """Computes in autocast's precision. Autocast alone would convert to fp32 and back, which costs memory traffic."""

    def forward(self, input: Tensor) -> Tensor:
        dtype = _autocast_dtype(input)
        with torch.autocast(input.device.type, enabled=False):
            weight, bias = _lower(self.weight, dtype), _lower(self.bias, dtype)
            return F.group_norm(input.to(dtype), self.num_groups, weight, bias, self.eps)


class LowPrecisionLayerNorm(nn.LayerNorm):
    """See LowPrecisionGroupNorm."""

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
        raise RecipeError(f"{name}: train.{field}: {type(model).__name__} does not support it") from error


def _items(module: nn.Module) -> list[nn.Module]:
    if isinstance(module, nn.ModuleList):
        return list(module)
    return [item for child in module.children() for item in _items(child)]
