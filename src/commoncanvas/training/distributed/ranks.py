"""The processes that train together, as torchrun starts them. A single process is rank 0 of 1."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn

from commoncanvas.config import TrainConfig
from commoncanvas.core.errors import CommonCanvasError, RecipeError
from commoncanvas.models.devices import pick_device
from commoncanvas.training.task import Batch, Task

_VARIABLES = (("RANK", "0"), ("WORLD_SIZE", "1"), ("LOCAL_RANK", "0"))
"""The variables that torchrun sets, and their values for a single process."""
SETTING_UP = timedelta(hours=6)
"""Longest wait for one process to select from many million rows."""
STEP = timedelta(hours=1)
"""Longest wait in a step, for one process to compute a validation loss or draw images."""

T = TypeVar("T")


@dataclass(frozen=True)
class Ranks:
    """This process is number `rank` of `world`, and computes on `device`."""

    rank: int
    world: int
    device: torch.device
    group: dist.ProcessGroup | None = None
    """A CPU group for messages between steps; they don't wait for those of the steps."""
    writing: dist.ProcessGroup | None = None
    """A CPU group for checkpoints, which are written during training."""

    @property
    def main(self) -> bool:
        """Whether this process writes the files."""
        return self.rank == 0

    def shard_group_size(self, config: TrainConfig) -> int:
        """How many ranks hold one copy of the weights together, if the weights are sharded."""
        if config.sharding == "full":
            return self.world
        return config.shard_ranks or int(os.environ.get("LOCAL_WORLD_SIZE", self.world))

    def share(self, size: int) -> slice:
        """This rank's slice of a batch of `size`; all ranks have equal parts."""
        count = size // self.world
        return slice(self.rank * count, (self.rank + 1) * count)

    @contextmanager
    def first(self) -> Iterator[None]:
        """The main process runs the block first, then the others; all wait until every process is done."""
        if not self.main:
            self._wait()
        yield
        if self.main:
            self._wait()
        self._wait()

    def mean(self, value: Tensor) -> Tensor:
        """Mean of a scalar over all ranks."""
        if self.world == 1:
            return value
        value = value / self.world
        dist.all_reduce(value)
        return value

    def any(self, flag: bool) -> bool:
        """Whether the flag is set on any rank."""
        if self.world == 1:
            return flag
        return bool(self.mean(torch.tensor(float(flag), device=self.device)))

    def gathered(self, value: T) -> list[T]:
        """The values of all ranks, in the order of ranks."""
        if self.world == 1:
            return [value]
        values: list[T] = [value] * self.world
        dist.all_gather_object(values, value, self.group)
        return values

    def _wait(self) -> None:
        if self.world > 1:
            dist.barrier(self.group)


@contextmanager
def joined(device: str) -> Iterator[Ranks]:
    """Join the process group that torchrun's variables describe: NCCL between GPUs, gloo between CPUs.

    Raises CommonCanvasError for variables that are not numbers, or a device that does not exist.
    """
    try:
        rank, world, local = (int(os.environ.get(name, other)) for name, other in _VARIABLES)
    except ValueError as error:
        raise CommonCanvasError(f"RANK, WORLD_SIZE and LOCAL_RANK must be numbers: {error}") from error
    if world == 1:
        yield Ranks(0, 1, pick_device(device))
        return
    kind = "cuda" if device == "auto" and torch.cuda.is_available() else device
    place = pick_device(f"cuda:{local}" if kind == "cuda" else kind)
    if place.type == "cuda":
        torch.cuda.set_device(place)
    dist.init_process_group("nccl" if place.type == "cuda" else "gloo", timeout=STEP)
    try:
        cpu_groups = (
            cast(dist.ProcessGroup, dist.new_group(backend="gloo", timeout=SETTING_UP)) for _ in range(2)
        )
        yield Ranks(rank, world, place, *cpu_groups)
    finally:
        dist.destroy_process_group()


class Loss(nn.Module):
    """A task's loss as a module, so that DDP and FSDP see every computation of the task."""

    def __init__(self, task: Task, model: nn.Module) -> None:
        super().__init__()
        self.task = task
        self.model = model

    def forward(self, batch: Batch) -> Tensor:
        return self.task.loss(self.model, batch)


def check_shares(name: str, config: TrainConfig, ranks: Ranks) -> None:
    """Raises RecipeError if the batch or the groups of ranks can't be divided evenly."""
    if config.batch_size % ranks.world:
        raise RecipeError(
            f"{name}: train.batch_size {config.batch_size} can't be divided evenly among {ranks.world} processes; "
            f"choose a multiple of {ranks.world}"
        )
    if config.sharding == "hybrid" and ranks.world % (size := ranks.shard_group_size(config)):
        raise RecipeError(
            f"{name}: train.shard_ranks: {ranks.world} processes can't be divided into groups of {size}; "
            f"choose a divisor of {ranks.world}"
        )
