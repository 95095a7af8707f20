"""Weights, gradients and the optimiser's state shared out among ranks (FSDP2), and the whole model again."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

from commoncanvas.config import TrainConfig
from commoncanvas.training.distributed.ranks import Loss, Ranks
from commoncanvas.training.optimizations import blocks, compile_blocks, lower_norms


def shared_loss(loss: Loss, config: TrainConfig, ranks: Ranks) -> nn.Module:
    """Batch -> loss; gradients are averaged over the ranks while they are computed. Every rank has to call it.

    Unless `config.sharding` is none, the parameters of `loss.model` become DTensors: an optimiser has to be made after.
    """
    if config.compile and config.sharding != "none":
        compile_blocks(loss.model)
    if ranks.world == 1:
        return loss
    if config.sharding == "none":
        return DistributedDataParallel(loss)
    mesh = _mesh(config, ranks)
    _make_alike(loss.model)
    # Where autocast would take bf16, the weights are gathered so, and given back after each block; autocast's own
    # copies would stay until the backward pass.
    half = config.precision == "bf16"
    policy = MixedPrecisionPolicy(
        param_dtype=torch.bfloat16 if half else None, reduce_dtype=torch.float32, cast_forward_inputs=False
    )
    if half and ranks.device.type == "cpu":
        # There autocast leaves norms as they are, and one with bf16 weights can't take fp32.
        lower_norms(loss.model)
    # The loss itself is the root, as a task may call other methods of a model than its forward.
    for module in (*reversed(blocks(loss.model)), loss):
        fully_shard(module, mesh=mesh, reshard_after_forward=config.reshard_after_forward, mp_policy=policy)
    return loss


@contextmanager
def apart(loss: nn.Module) -> Iterator[None]:
    """Gradients of what is computed in the block add up in each process alone; those of `shared_loss`'s loss.

    Not those of weights that are shared out: each process would keep whole gradients, which sharing is to save it.
    """
    with loss.no_sync() if isinstance(loss, DistributedDataParallel) else nullcontext():
        yield


def local(tensor: Tensor) -> Tensor:
    """This process's part of it, in the same memory."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def full(tensor: Tensor) -> Tensor:
    """All of it. Every rank has to call it."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


class Whole:
    """A model in one piece, as it was before its weights were shared out."""

    def __init__(self, model: nn.Module, ranks: Ranks) -> None:
        self.ranks = ranks
        weightless = {
            id(parameter): nn.Parameter(torch.empty_like(parameter, device="meta"), requires_grad=False)
            for parameter in model.parameters()
        }
        self._empty = copy.deepcopy(model, weightless)

    def holding(self, weights: Mapping[str, Tensor]) -> nn.Module:
        """The model with these weights, by name, on the ranks' device, for evaluation; they share memory where they are
        whole already.

        Every rank has to call it, and only the main process's has weights.
        """
        model = copy.deepcopy(self._empty).eval()
        whole = {}
        for name, shard in weights.items():
            tensor = full(shard)
            if self.ranks.main:
                # One at a time: the device may not have room for all of them beside the training.
                whole[name] = tensor if tensor is shard else tensor.cpu()
        if not self.ranks.main:
            return model
        model.load_state_dict(whole, assign=True)
        return model.requires_grad_(False).to(self.ranks.device)


def _mesh(config: TrainConfig, ranks: Ranks) -> DeviceMesh:
    kind, size = ranks.device.type, ranks.with_a_copy(config)
    if size == ranks.world:
        return init_device_mesh(kind, (size,), mesh_dim_names=("shard",))
    return init_device_mesh(kind, (ranks.world // size, size), mesh_dim_names=("replicate", "shard"))


@torch.no_grad()
def _make_alike(model: nn.Module) -> None:
    """All ranks have the main process's weights, as after DistributedDataParallel; in the order that shards need."""
    for parameter in model.parameters():
        parameter.data = parameter.data.contiguous()
        dist.broadcast(parameter.data, 0)
    for buffer in model.buffers():
        dist.broadcast(buffer, 0)
