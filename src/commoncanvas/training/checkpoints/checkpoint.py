"""Checkpoints: one folder per step, complete or absent. A run can be resumed with any number of processes.

With the same number of processes and the same sharding, a resumed run is bit-identical to an uninterrupted one.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Collection
from concurrent.futures import Future
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.staging import BlockingAsyncStager
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import async_save
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer

from commoncanvas.core.errors import TrainingError
from commoncanvas.core.files import with_remedy
from commoncanvas.core.text import one_line
from commoncanvas.table.storage import Storage
from commoncanvas.training.checkpoints.store import INDEX, Reader, Writer
from commoncanvas.training.distributed.ranks import Ranks
from commoncanvas.training.ema import EMA

PREFIX = "step-"
COMPLETE = re.compile(rf"{PREFIX}(\d+)/{re.escape(INDEX)}")
AVERAGE = "average."
UNREADABLE = (
    OSError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    RuntimeError,
    EOFError,
)
# Training with a single process is normal.
warnings.filterwarnings("ignore", message="torch.distributed is disabled, unavailable or uninitialized")


class Checkpoints:
    """The newest `keep` checkpoints of one run, in a folder or an object store that all ranks can access.

    `run`: the run's fingerprint. `earlier`: its former fingerprints. Checkpoints with any other are not loaded.
    """

    def __init__(self, uri: str, keep: int, run: str, ranks: Ranks, earlier: Collection[str] = ()) -> None:
        self.storage = Storage(uri)
        self.keep = keep
        self.run = run
        self.earlier = earlier
        self.ranks = ranks
        self._writing: Future[Any] | None = None

    def steps(self) -> list[int]:
        """Steps that have a complete checkpoint, ascending."""
        return saved_steps(self.storage)

    def check(self, before: str, resume: bool) -> None:
        """Raises TrainingError if a new run finds checkpoints here, or if a resumed run finds none here but some in
        `before`, its former location.
        """
        if self.steps():
            if not resume:
                raise TrainingError(
                    f"{self.storage.uri} already holds checkpoints; continue with --resume, "
                    "or choose another train.checkpoints"
                )
        elif (
            Storage(before).uri != self.storage.uri
            and Checkpoints(before, self.keep, self.run, self.ranks).steps()
        ):
            raise TrainingError(
                f"{self.storage.uri} holds no checkpoint, but {before} holds those of this run; resume with "
                f"--train.checkpoints {before}, or copy them"
            )

    def save(self, step: int, model: nn.Module, optimizer: Optimizer, ema: EMA | None) -> None:
        """Copy the state after `step` steps, and write it in the background. Every rank must call it.

        It waits for the previous checkpoint. Raises TrainingError if that could not be written.
        """
        self.close()
        writing = async_save(
            self._mine(_state(model, optimizer, ema)),
            storage_writer=Writer(self.storage, folder_of(step), self.run),
            process_group=self.ranks.writing,
            async_stager=BlockingAsyncStager(),
            no_dist=self.ranks.world == 1,
        )
        self._writing = cast("Future[Any]", writing)

    def close(self) -> None:
        """Wait until the current checkpoint is complete, then delete the oldest beyond `keep`."""
        if self._writing is None:
            return
        writing, self._writing = self._writing, None
        try:
            writing.result()
        except (CheckpointException, *UNREADABLE) as error:
            raise TrainingError(
                f"checkpoint in {self.storage.uri} can't be written ({with_remedy(_reason(error))})"
            ) from error
        if self.ranks.main:
            self._prune()

    def load(self, step: int, model: nn.Module, optimizer: Optimizer, ema: EMA | None) -> None:
        """Load the state after `step` steps into the model, the optimiser and the average; each rank loads its part."""
        folder = f"{self.storage.uri}/{folder_of(step)}"
        try:
            reader = Reader(self.storage, folder_of(step))
            run, names = reader.index["run"], reader.index["tensors"].keys()
            if run == self.run or run in self.earlier:
                _begin(model, optimizer, names)
                load(
                    _state(model, optimizer, ema),
                    storage_reader=reader,
                    process_group=self.ranks.writing,
                    no_dist=self.ranks.world == 1,
                )
        except (CheckpointException, *UNREADABLE) as error:
            raise TrainingError(
                f"checkpoint {folder} can't be read ({_reason(error)}); "
                "delete that folder to continue from an older checkpoint"
            ) from error
        if run != self.run and run not in self.earlier:
            raise TrainingError(f"checkpoint {folder} is from another run; choose another train.checkpoints")

    def _mine(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """What this rank writes: its shards, its average, and its part of the tensors that are equal on all ranks.

        Without this, every process would copy all of these tensors, and one would write them.
        """
        return {
            name: tensor
            for place, (name, tensor) in enumerate(state.items())
            if isinstance(tensor, DTensor)
            or name.startswith(AVERAGE)
            or place % self.ranks.world == self.ranks.rank
        }

    def keep_until(self, step: int) -> None:
        """Delete the checkpoints after `step` steps."""
        self._keep([saved for saved in self.steps() if saved <= step])

    def _prune(self) -> None:
        self._keep(self.steps()[-self.keep :])

    def _keep(self, steps: Collection[int]) -> None:
        kept = set(map(folder_of, steps))
        found = {path.partition("/")[0] for path in self.storage.files() if path.startswith(PREFIX)}
        for folder in found - kept:
            # The index first: if this is interrupted, the rest does not count as a checkpoint.
            self.storage.delete(f"{folder}/{INDEX}")
            self.storage.delete_folder(folder)


def saved_steps(storage: Storage) -> list[int]:
    """Steps that have a complete checkpoint in `storage`, ascending."""
    found = map(COMPLETE.fullmatch, storage.files())
    return sorted(int(match[1]) for match in found if match)


def folder_of(step: int) -> str:
    """The folder of a checkpoint in its storage."""
    return f"{PREFIX}{step:08d}"


def _state(model: nn.Module, optimizer: Optimizer, ema: EMA | None) -> dict[str, Tensor]:
    """All tensors of a run by unique names. The optimiser's settings are not among them; the recipe has them."""
    state = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    for name, parameter in model.named_parameters():
        own = optimizer.state.get(parameter, {})
        state |= {_of_optimizer(name) + key: value for key, value in own.items()}
    return state | {AVERAGE + name: tensor for name, tensor in (ema.tensors if ema else {}).items()}


def _begin(model: nn.Module, optimizer: Optimizer, names: Any) -> None:
    """Create the optimiser's tensors, as its first step does, for the parameters that have some in the checkpoint."""
    saved_parameters = {saved.rpartition("/")[0] for saved in names}
    for name, parameter in model.named_parameters():
        if _of_optimizer(name).removesuffix("/") in saved_parameters:
            parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    optimizer.zero_grad()


def _of_optimizer(name: str) -> str:
    return f"optimizer.{name}/"


def _reason(error: BaseException) -> str:
    if isinstance(error, CheckpointException):
        error = next(iter(error.failures.values()))[0]
    return one_line(error)
