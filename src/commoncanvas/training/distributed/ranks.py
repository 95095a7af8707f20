"""The processes that train together, as torchrun starts them; one alone is one of one."""

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
"""What torchrun tells each process, and what one alone is."""
SETTING_UP = timedelta(hours=6)
"""How long the processes wait for one that chooses among many million rows."""
STEP = timedelta(hours=1)
"""How long they wait in a step for one that computes a validation loss or draws images before it."""

T = TypeVar("T")


@dataclass(frozen=True)
class Ranks:
    """This process is number `rank` of `world`, and computes on `device`."""

    rank: int
    world: int
    device: torch.device
    group: dist.ProcessGroup | None = None
    """Of CPUs, for what is said between steps: its messages don't wait for those of the steps."""
    writing: dist.ProcessGroup | None = None
    """Of CPUs, for checkpoints, which are written while the training goes on."""

    @property
    def main(self) -> bool:
        """Whether it writes what all have made."""
        return self.rank == 0

    def with_a_copy(self, config: TrainConfig) -> int:
        """How many ranks share one copy of the weights, if they share them out."""
        if config.sharding == "full":
            return self.world
        return config.shard_ranks or int(os.environ.get("LOCAL_WORLD_SIZE", self.world))

    def share(self, size: int) -> slice:
        """Its places of a batch's `size`, which each rank has as many of."""
        count = size // self.world
        return slice(self.rank * count, (self.rank + 1) * count)

    @contextmanager
    def first(self) -> Iterator[None]:
        """The main process runs the block, once it has the others do, and once all have they go on."""
        if not self.main:
            self._wait()
        yield
        if self.main:
            self._wait()
        self._wait()

    def mean(self, value: Tensor) -> Tensor:
        """Of a scalar, over all ranks."""
        if self.world == 1:
            return value
        value = value / self.world
        dist.all_reduce(value)
        return value

    def any(self, flag: bool) -> bool:
        """Whether one of them says so."""
        if self.world == 1:
            return flag
        return bool(self.mean(torch.tensor(float(flag), device=self.device)))

    def gathered(self, value: T) -> list[T]:
        """What each of them says, in their order."""
        if self.world == 1:
            return [value]
        said: list[T] = [value] * self.world
        dist.all_gather_object(said, value, self.group)
        return said

    def _wait(self) -> None:
        if self.world > 1:
            dist.barrier(self.group)


@contextmanager
def joined(device: str) -> Iterator[Ranks]:
    """Join the processes that torchrun's variables tell of, NCCL between GPUs, gloo between CPUs.

    Raises CommonCanvasError for variables that can't be, or a device that isn't there.
    """
    try:
        rank, world, local = (int(os.environ.get(name, other)) for name, other in _VARIABLES)
    except ValueError as error:
        raise CommonCanvasError(f"RANK, WORLD_SIZE and LOCAL_RANK must be numbers: {error}") from error
    if world == 1:
        yield Ranks(0, 1, pick_device(device))
        return
    one = "cuda" if device == "auto" and torch.cuda.is_available() else device
    place = pick_device(f"cuda:{local}" if one == "cuda" else one)
    if place.type == "cuda":
        torch.cuda.set_device(place)
    dist.init_process_group("nccl" if place.type == "cuda" else "gloo", timeout=STEP)
    try:
        beside = (
            cast(dist.ProcessGroup, dist.new_group(backend="gloo", timeout=SETTING_UP)) for _ in range(2)
        )
        yield Ranks(rank, world, place, *beside)
    finally:
        dist.destroy_process_group()


class Loss(nn.Module):
    """A task's loss as a module, so that DDP and FSDP see all that is computed, whatever the task calls."""

    def __init__(self, task: Task, model: nn.Module) -> None:
        super().__init__()
        self.task = task
        self.model = model

    def forward(self, batch: Batch) -> Tensor:
        return self.task.loss(self.model, batch)


def check_shares(name: str, config: TrainConfig, ranks: Ranks) -> None:
    """Raises RecipeError for a batch that can't be shared out evenly, or ranks that can't be grouped evenly."""
    if config.batch_size % ranks.world:
        raise RecipeError(
            f"{name}: train.batch_size {config.batch_size} can't be divided evenly among {ranks.world} processes; "
            f"choose a multiple of {ranks.world}"
        )
    if config.sharding == "hybrid" and ranks.world % (size := ranks.with_a_copy(config)):
        raise RecipeError(
            f"{name}: train.shard_ranks: {ranks.world} processes can't be divided into groups of {size}; "
            f"choose a divisor of {ranks.world}"
        )
