"""Shard weights, gradients and the optimiser's state over ranks (FSDP2), and gather the whole model."""

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
    """Wrap `loss` so that gradients are averaged over the ranks while they are computed. Every rank must call it.

    Unless `config.sharding` is none, the parameters of `loss.model` become DTensors; make the optimiser after this.
    """
    if config.compile and config.sharding != "none":
        compile_blocks(loss.model)
    if ranks.world == 1:
        return loss
    if config.sharding == "none":
        return DistributedDataParallel(loss)
    mesh = _mesh(config, ranks)
    _copy_from_main(loss.model)
    # With bf16, weights are gathered as bf16 and freed after each block. Autocast's own copies would stay until the
    # backward pass.
    half = config.precision == "bf16"
    policy = MixedPrecisionPolicy(
        param_dtype=torch.bfloat16 if half else None, reduce_dtype=torch.float32, cast_forward_inputs=False
    )
    if half and ranks.device.type == "cpu":
        # On CPUs autocast does not cast norms, and a norm with bf16 weights can't take fp32.
        lower_norms(loss.model)
    # The loss is the root module, because a task may call methods of a model other than its forward.
    for module in (*reversed(blocks(loss.model)), loss):
        fully_shard(module, mesh=mesh, reshard_after_forward=config.reshard_after_forward, mp_policy=policy)
    return loss


@contextmanager
def unsynchronised(loss: nn.Module) -> Iterator[None]:
    """In this block, add up gradients of `shared_loss`'s result in each process, without averaging over processes.

    Gradients of sharded weights are averaged anyway: otherwise each process would have to keep whole gradients.
    """
    with loss.no_sync() if isinstance(loss, DistributedDataParallel) else nullcontext():
        yield


def local(tensor: Tensor) -> Tensor:
    """This process's part of a tensor, in the same memory."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def full(tensor: Tensor) -> Tensor:
    """The whole tensor. Every rank must call it."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


class Whole:
    """Makes whole models from sharded weights."""

    def __init__(self, model: nn.Module, ranks: Ranks) -> None:
        self.ranks = ranks
        weightless = {
            id(parameter): nn.Parameter(torch.empty_like(parameter, device="meta"), requires_grad=False)
            for parameter in model.parameters()
        }
        self._empty = copy.deepcopy(model, weightless)

    def holding(self, weights: Mapping[str, Tensor]) -> nn.Module:
        """The model with these weights (by name) on the ranks' device, for evaluation. Unsharded weights aren't copied.

        Every rank must call it; only the main process's model has weights.
        """
        model = copy.deepcopy(self._empty).eval()
        whole = {}
        for name, shard in weights.items():
            tensor = full(shard)
            if self.ranks.main:
                # One at a time: the device may not have memory for all of them during training.
                whole[name] = tensor if tensor is shard else tensor.cpu()
        if not self.ranks.main:
            return model
        model.load_state_dict(whole, assign=True)
        return model.requires_grad_(False).to(self.ranks.device)

    def everywhere(self, weights: Mapping[str, Tensor]) -> nn.Module:
        """Like `holding`, but every rank's model has the main process's weights. Every rank needs memory for them."""
        model = copy.deepcopy(self._empty).eval()
        model.load_state_dict({name: self._from_main(each) for name, each in weights.items()}, assign=True)
        return model.requires_grad_(False).to(self.ranks.device)

    def _from_main(self, tensor: Tensor) -> Tensor:
        """The whole tensor as the main process has it, in the same memory format."""
        if self.ranks.world == 1 or isinstance(tensor, DTensor):
            return full(tensor)
        sent = tensor.detach().clone(memory_format=torch.contiguous_format)
        dist.broadcast(sent, 0)
        return torch.empty_like(tensor).copy_(sent)


def _mesh(config: TrainConfig, ranks: Ranks) -> DeviceMesh:
    kind, size = ranks.device.type, ranks.shard_group_size(config)
    if size == ranks.world:
        return init_device_mesh(kind, (size,), mesh_dim_names=("shard",))
    return init_device_mesh(kind, (ranks.world // size, size), mesh_dim_names=("replicate", "shard"))


@torch.no_grad()
def _copy_from_main(model: nn.Module) -> None:
    """Copy the main process's weights to all ranks, as DistributedDataParallel does. Shards need them contiguous."""
    for parameter in model.parameters():
        parameter.data = parameter.data.contiguous()
        dist.broadcast(parameter.data, 0)
    for buffer in model.buffers():
        dist.broadcast(buffer, 0)
